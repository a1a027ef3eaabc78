//! Which kind of failure stands behind an error of `/rpc`: go-micro's form has no word for it, so headers beside it have.
//!
//! | header | says |
//! |---|---|
//! | `micro-failure` | `unknown-method`, `ambiguous-method` or `wrong-request`: nothing was sent to the service |
//! | `micro-like` | the method that was perhaps meant |
//! | `micro-methods` | those that there are, or that it may be; not all of many |

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Status;

use super::error::Error;
use crate::remote::FAILURE;
use crate::schema;

const LIKE: &str = "micro-like";
const METHODS: &str = "micro-methods";
/// As many methods are named at most.
const MOST_METHODS: usize = 32;

/// The word for the kind of `error`, if it is one that the caller could have known before.
pub(crate) fn reason(error: &Error) -> Option<&'static str> {
    match error {
        Error::Schema(schema::Error::NoMethod { .. }) => Some("unknown-method"),
        Error::Schema(schema::Error::Ambiguous { .. }) => Some("ambiguous-method"),
        Error::Input(_) => Some("wrong-request"),
        _ => None,
    }
}

/// Says in `headers` what kind of failure `error` is.
pub(crate) fn say_reason(error: &Error, headers: &mut HeaderMap) {
    let Some(reason) = reason(error) else { return };
    headers.insert(FAILURE, HeaderValue::from_static(reason));
    let mut say = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    match error {
        Error::Schema(schema::Error::NoMethod { like: Some(like), .. }) => say(LIKE, like),
        Error::Schema(schema::Error::NoMethod { methods, .. } | schema::Error::Ambiguous { methods, .. }) => {
            say(METHODS, &methods[..methods.len().min(MOST_METHODS)].join(", "));
        }
        _ => {}
    }
}

/// The error that `status` tells of: by the headers that came with it where they say a kind.
pub(super) fn told(status: Status, method: &str) -> Error {
    let said = |name: &str| status.metadata().get(name)?.to_str().ok().map(str::to_owned);
    let name = method.to_owned();
    let methods = || {
        let all = said(METHODS).unwrap_or_default();
        all.split(", ").filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    match said(FAILURE).as_deref() {
        Some("unknown-method") => {
            schema::Error::NoMethod { name, like: said(LIKE), methods: methods() }.into()
        }
        Some("ambiguous-method") => schema::Error::Ambiguous { name, methods: methods() }.into(),
        Some("wrong-request") => {
            let what = status.message();
            Error::Input(what.strip_prefix("the request is wrong: ").unwrap_or(what).into())
        }
        _ => status.into(),
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;
    use crate::call::what;

    #[test]
    fn what_is_said_in_headers_is_told_as_it_was() {
        let methods = vec!["a.A/Get".to_owned(), "a.B/Get".to_owned()];
        let like = Some("a.A/Get".to_owned());
        let name = "Get".to_owned();
        let errors: [Error; 4] = [
            schema::Error::NoMethod { name: name.clone(), like, methods: Vec::new() }.into(),
            schema::Error::NoMethod { name: name.clone(), like: None, methods: methods.clone() }.into(),
            schema::Error::Ambiguous { name, methods }.into(),
            Error::Input("document 2: not JSON".into()),
        ];
        for error in errors {
            let mut headers = HeaderMap::new();
            say_reason(&error, &mut headers);
            let metadata = MetadataMap::from_headers(headers);
            let status = Status::with_metadata(error.code(), what(&error), metadata);
            assert_eq!(format!("{:?}", told(status, "Get")), format!("{error:?}"));
        }
        let plain = Status::not_found("no such method");
        assert!(matches!(told(plain, "Get"), Error::Status(_)));
    }
}

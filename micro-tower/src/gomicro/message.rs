//! What go-micro's transports carry.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers and a body. Names of headers have no case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Message {
    /// The value of `micro-NAME`, or of `x-micro-NAME`.
    pub(crate) fn micro(&self, name: &str) -> Option<&str> {
        let value = |prefix: &str| text(self.headers.get(format!("{prefix}{name}"))?);
        let value = value("micro-").or_else(|| value("x-micro-"))?;
        (!value.is_empty()).then_some(value)
    }

    /// Whether `micro-NAME` is there under its newer name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// What stands behind `application/` in the content type, in lower case; the whole type where it is another.
    pub(crate) fn subtype(&self) -> Option<String> {
        let value = text(self.headers.get(header::CONTENT_TYPE)?)?;
        let value = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match value.strip_prefix("application/") {
            _ if value.is_empty() => None,
            Some(subtype) => Some(subtype.to_owned()),
            None => Some(value),
        }
    }

    /// Sets a header of ours; text that no header can hold becomes spaces.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        let bytes: Vec<u8> = value.bytes().map(|byte| if is_plain(byte) { byte } else { b' ' }).collect();
        let value = HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| HeaderValue::from_static(""));
        self.headers.insert(HeaderName::from_static(name), value);
    }

    /// Sets both names of a header.
    pub(crate) fn set_both(&mut self, names: [&'static str; 2], value: &str) {
        names.into_iter().for_each(|name| self.set(name, value));
    }
}

/// What a header may hold, as `HeaderValue` sees it.
fn is_plain(byte: u8) -> bool {
    byte >= 32 && byte != 127
}

/// The text of a header. Go writes UTF-8, which a `HeaderValue` keeps but does not call text.
pub(crate) fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

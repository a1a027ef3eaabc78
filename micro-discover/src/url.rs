//! What follows the scheme of a registry's URL: `user:password@h1:1,h2/path?name=value&flag`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::invalid::{Invalid, quoted};
#[cfg(any(feature = "consul", feature = "etcd"))]
use crate::pem::Pem;

/// The parts of a URL. User, password and values may be percent-encoded.
#[cfg_attr(
    not(any(feature = "consul", feature = "etcd", feature = "nats")),
    allow(dead_code, reason = "nobody logs in to multicast")
)]
pub(crate) struct Url {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// As written, not checked; one empty host where there is none.
    pub(crate) hosts: Vec<String>,
    /// Without its leading slash.
    pub(crate) path: String,
    options: Vec<(String, String)>,
}

impl Url {
    pub(crate) fn parse(rest: &str) -> Self {
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let option = |option: &str| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            (name.to_owned(), decode(value))
        };
        let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            None => (None, None),
            Some(Ok((user, password))) => (Some(decode(user)), Some(decode(password))),
            Some(Err(user)) => (Some(decode(user)), None),
        };
        Self {
            user,
            password,
            hosts: hosts.split(',').map(str::to_owned).collect(),
            path: path.to_owned(),
            options: query.split('&').filter(|option| !option.is_empty()).map(option).collect(),
        }
    }

    /// The value of the option `name`, which is then known; empty for a flag.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.options.iter().position(|(found, _)| found == name)?;
        Some(self.options.swap_remove(at).1)
    }

    /// The option `name` as a whole number of seconds, 1 to a day.
    #[cfg(any(feature = "consul", feature = "etcd"))]
    pub(crate) fn seconds(&mut self, name: &str) -> Result<Option<std::time::Duration>, Invalid> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match text.parse() {
            Ok(seconds @ 1..=86_400) => Ok(Some(std::time::Duration::from_secs(seconds))),
            _ => Err(Invalid::new(format!(
                "{name} {}: it is no number of seconds in 1..=86400",
                quoted(&text)
            ))),
        }
    }

    /// What is in the file that the option `name` is the path of.
    #[cfg(any(feature = "consul", feature = "etcd"))]
    pub(crate) fn file(&mut self, name: &str) -> Result<Option<Pem>, Invalid> {
        let Some(path) = self.take(name) else { return Ok(None) };
        let read = Pem::read(&path);
        read.map(Some).map_err(|error| Invalid::new(format!("{name} {}: {error}", quoted(&path))))
    }

    /// The certificate and its key in the files that the options `cert` and `key` are the paths of: both or none.
    #[cfg(any(feature = "consul", feature = "etcd"))]
    pub(crate) fn identity(&mut self) -> Result<Option<(Pem, Pem)>, Invalid> {
        match (self.file("cert")?, self.file("key")?) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            _ => Err(Invalid::new("cert and key: one goes with the other")),
        }
    }

    /// Refuses what nobody has taken. `known` lists what there is to take.
    pub(crate) fn end(&self, known: &str) -> Result<(), Invalid> {
        match self.options.first() {
            None => Ok(()),
            Some((name, _)) => Err(Invalid::new(format!("option {}: it is none of {known}", quoted(name)))),
        }
    }
}

/// Every `%41` as the byte it stands for; what is no such thing, or would be no text, stays as it is.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_and_decoded() {
        let mut url = Url::parse("me:p%40ss:w%+f@h1:1,[::1]/bucket/x?a=%2Ftmp&flag&b=1=2");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("me"), Some("p@ss:w%+f")));
        assert_eq!(
            (url.hosts.as_slice(), url.path.as_str()),
            (&["h1:1".into(), "[::1]".into()][..], "bucket/x")
        );
        assert_eq!(url.take("a").as_deref(), Some("/tmp"));
        assert_eq!((url.take("flag").as_deref(), url.take("flag")), (Some(""), None));
        assert!(url.end("a, flag").unwrap_err().to_string().contains("option \"b\": it is none of a, flag"));
        assert_eq!(url.take("b").as_deref(), Some("1=2"));
        url.end("").unwrap();
    }

    #[cfg(any(feature = "consul", feature = "etcd"))]
    #[test]
    fn little_is_enough_and_bad_values_are_named() {
        let mut url = Url::parse("h?interval=0&ca=/no/such/file");
        assert_eq!((url.user.as_ref(), url.password.as_ref(), url.path.as_str()), (None, None, ""));
        assert!(url.seconds("interval").unwrap_err().to_string().contains("interval \"0\""));
        assert!(url.file("ca").unwrap_err().to_string().contains("ca \"/no/such/file\""));
        assert_eq!(Url::parse("").hosts, [""]);
    }
}

//! URLs that may be shown.

/// A URL without what may be secret: what stands before the `@` of its authority, and its query.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':') else {
        // A text that is no URL may be anything, even a secret.
        return "***".to_owned();
    };
    if scheme == "file" {
        return url.to_owned();
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?***"),
        None => (rest, ""),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{query}"),
        None => format!("{scheme}:{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        assert_eq!(redacted("etcd://user:hunter2@h:1"), "etcd://***@h:1");
        assert_eq!(redacted("etcd:user:hunter2@h:1"), "etcd://***@h:1");
        assert_eq!(redacted("consul://h:1?token=hunter2&passing"), "consul://h:1?***");
        assert_eq!(redacted("fixed://a:1;weight=3,b:2"), "fixed://a:1;weight=3,b:2");
        assert_eq!(redacted("file:/run/who@where?"), "file:/run/who@where?");
        assert_eq!(redacted("hunter2"), "***");
    }
}

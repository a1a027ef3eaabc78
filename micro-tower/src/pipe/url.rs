//! URLs of brokers: what of them may be shown.

/// `url` without the name and password of whoever uses it, in every one of a list of servers.
pub(crate) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let hosts = rest.split(',').map(|part| {
        let part = part.split_once("://").map_or(part, |(_, rest)| rest);
        let part = part.rsplit_once('@').map_or(part, |(_, host)| host);
        part.split(['?', '#']).next().unwrap_or_default()
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    if scheme.is_empty() { hosts } else { format!("{scheme}://{hosts}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://u:hunter2@a:1,nats://u:hunter2@b:2", "nats://a:1,b:2"),
            ("amqp://u:hunter2@a:1/%2f?password=hunter2", "amqp://a:1/%2f"),
            ("u:hunter2@a:1", "a:1"),
            ("nats://token:hunter@2@a", "nats://a"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}

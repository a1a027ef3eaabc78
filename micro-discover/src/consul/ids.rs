//! What an endpoint is called at an agent.

/// An agent's id for an endpoint: its own, as with go-micro, where it names its service and no other can have it. Else one
/// that is put together: two services may use one endpoint id, Consul's index knows no upper case, and who reads paths
/// without decoding them finds nothing to decode in plain names.
pub(super) fn id_of(service: &str, endpoint: &str) -> String {
    if named_by(endpoint) == Some(service) && !endpoint.contains(|c: char| c.is_uppercase() || c == '~') {
        return endpoint.to_owned();
    }
    let mut id = String::new();
    for (n, name) in [service, endpoint].into_iter().enumerate() {
        if n > 0 {
            id.push_str("~.");
        }
        for c in name.chars() {
            if c.is_uppercase() || c == '~' {
                id.push('~');
            }
            id.extend(c.to_lowercase());
        }
    }
    id
}

/// The one service whose endpoints may be called so: `greeter` of `greeter-1`, or of `greeter-` and a UUID.
fn named_by(endpoint: &str) -> Option<&str> {
    let uuid = endpoint.len().checked_sub(UUID.iter().sum::<usize>() + UUID.len()).and_then(|at| {
        let (service, id) = endpoint.split_at_checked(at)?;
        let parts = id.strip_prefix('-')?.split('-');
        let hex = id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        (hex && parts.map(str::len).eq(UUID)).then_some(service)
    });
    uuid.or_else(|| endpoint.rsplit_once('-').map(|(service, _)| service))
}

/// How many digits stand between the dashes of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_names_its_service_is_kept_and_no_two_endpoints_share_one() {
        let uuid = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
        for (service, endpoint) in
            [("greeter", "greeter-1".to_owned()), ("go.micro.srv-a", format!("go.micro.srv-a-{uuid}"))]
        {
            assert_eq!(id_of(service, &endpoint), endpoint);
        }
        let services = ["a", "a-b", "a-b-1", "A", "a-0a1b2c3d", "é", &format!("a-{}", &uuid[..23])];
        let ids = ["a-b-1", "a-1", "A-1", "-1", "a-", "é-1", "a-b-~.", uuid, &format!("a-{uuid}")];
        let pairs = services.iter().flat_map(|service| ids.iter().map(move |id| id_of(service, id)));
        let distinct: std::collections::BTreeSet<_> = pairs.collect();
        assert_eq!(distinct.len(), services.len() * ids.len(), "{distinct:?}");
        assert!(distinct.iter().all(|id| id.to_lowercase() == *id));
    }
}

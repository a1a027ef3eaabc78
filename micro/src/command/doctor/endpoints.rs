//! Which endpoints are looked at, and for how long.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use micro_discover::{Endpoint, Service};
use tokio::time::Instant;

use super::endpoint;
use super::within::all_by;
use crate::command::context::Context;
use crate::command::reply::Finding;
use crate::command::words::word;

/// How many are looked at at a time.
const AT_A_TIME: usize = 64;
/// Of a service that has more endpoints so many are looked at.
const SAMPLE: usize = 64;

/// The endpoints of `services` to look at, each with its service's name, and what is to be said of the rest. The same come
/// out each time, so that it can be seen whether something was mended.
pub(super) fn choose(services: &[Service], all: bool) -> (Vec<(String, Endpoint)>, Vec<Finding>) {
    let (mut chosen, mut said) = (Vec::new(), Vec::new());
    // Versions of a service stand beside each other.
    for versions in services.chunk_by(|one, next| one.name == next.name) {
        let endpoints: Vec<_> = versions.iter().flat_map(|version| &version.endpoints).collect();
        let Some(Service { name, .. }) = versions.first() else { continue };
        let (total, wanted) = (endpoints.len(), if all { endpoints.len() } else { SAMPLE });
        if total <= wanted {
            chosen.extend(endpoints.into_iter().map(|one| (name.clone(), one.clone())));
            continue;
        }
        // Spread over all of them: neighbours are often one deployment's.
        let spread = (0..wanted).filter_map(|at| endpoints.get(at * total / wanted));
        chosen.extend(spread.map(|one| (name.clone(), (*one).clone())));
        said.push(Finding {
            hint: Some(format!("micro doctor {} --all", word(name))),
            ..Finding::skipped("endpoint", name.as_str(), format!("{wanted} of {total} looked at"))
        });
    }
    (chosen, said)
}

/// Looks at them, for `limit` each and until `end` at most.
pub(super) async fn look(
    context: &Context,
    chosen: Vec<(String, Endpoint)>,
    limit: Duration,
    end: Instant,
) -> Vec<Finding> {
    let wanted = chosen.len();
    let look = |(at, (name, one)): (usize, (String, Endpoint))| async move {
        (at, endpoint::look(context, &name, &one, limit).await)
    };
    let looks = stream::iter(chosen.into_iter().enumerate()).map(look).buffer_unordered(AT_A_TIME);
    let found = all_by(end, looks).await;
    let left = wanted - found.len();
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    if left > 0 {
        let said = format!("{left} of {wanted} were not looked at in the time there was");
        let hint = "a longer --within, or the names of the services that matter";
        found.push(Finding::warning("endpoint", "the others", said, hint));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn service(name: &str, version: &str, endpoints: usize) -> Service {
        let mut service = Service::new(name).version(version);
        for number in 0..endpoints {
            let id = format!("{version}-{number}");
            service.endpoints.push(Endpoint::new(id, "127.0.0.1:1".parse().unwrap()));
        }
        service
    }

    #[test]
    fn of_many_endpoints_some_of_each_version_are_looked_at_and_the_rest_is_told() {
        let services =
            || vec![service("few", "1", 64), service("many", "1", 100), service("many", "2", 4900)];
        let (chosen, said) = choose(&services(), false);
        let ids: BTreeSet<_> =
            chosen.iter().filter(|(name, _)| name == "many").map(|(_, one)| &one.id).collect();
        assert_eq!((chosen.len(), ids.len()), (128, 64));
        assert!(ids.contains(&"1-0".to_owned()) && ids.iter().any(|id| id.starts_with("2-48")), "{ids:?}");
        assert_eq!((said.len(), &*said[0].about, &*said[0].said), (1, "many", "64 of 5000 looked at"));
        assert_eq!(said[0].hint.as_deref(), Some("micro doctor many --all"));
        let (chosen, said) = choose(&services(), true);
        assert_eq!((chosen.len(), said.len()), (5064, 0));
    }
}

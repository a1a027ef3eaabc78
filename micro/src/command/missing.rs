//! What is said about a name that nobody has: that it is missing, and which one was perhaps meant.

use std::collections::BTreeSet;

use micro_discover::Service;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::words::word;
use crate::near::closest;

/// There is no service `name`; the registry's names are looked through for one like it.
pub(super) async fn service(context: &Context, name: &str, verb: &str) -> Failure {
    let failure = Failure::new(Kind::NotFound, format!("there is no service {name:?}"))
        .tried(format!("to find it for micro {verb}, in the registry {}", context.url()));
    // The name is missing whether or not another can be suggested.
    let services = context.ask("to list services", context.registry().list()).await.unwrap_or_default();
    let names: BTreeSet<_> = services.iter().map(|service| service.name.as_str()).collect();
    match closest(name, names.iter().copied()) {
        Some(like) => failure.hint(format!("micro {verb} {}", word(like))),
        None if names.is_empty() => {
            failure.hint("micro register, or another --registry (MICRO_REGISTRY): this one is empty")
        }
        None => failure.hint("micro list, which names every service"),
    }
}

/// The service `name` is `records`, and none of its endpoints has the id or the address `wanted`.
pub(super) fn endpoint(context: &Context, name: &str, wanted: &str, records: &[Service]) -> Failure {
    let known = match records.iter().map(|record| record.endpoints.len()).sum() {
        1 => "of the one that there is".to_owned(),
        known => format!("among {known}"),
    };
    let ids: BTreeSet<_> =
        records.iter().flat_map(|record| &record.endpoints).map(|endpoint| endpoint.id.as_str()).collect();
    let failure = Failure::new(Kind::NotFound, format!("service {name:?} has no endpoint {wanted:?}"))
        .tried(format!("to find it by id or address {known}, in the registry {}", context.url()));
    match closest(wanted, ids.iter().copied()) {
        Some(like) => failure.hint(format!("--endpoint {}", word(like))),
        None => failure.hint(format!("micro get {}, which names every endpoint", word(name))),
    }
}

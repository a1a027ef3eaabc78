//! Whether the registry answers, how fast, and what is in it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use micro_discover::{Error, Service};
use tokio::time::{Instant, timeout};

use super::within::{all_by, millis};
use crate::causes::chain;
use crate::command::context::Context;
use crate::command::reply::Finding;

/// How many services are asked for at a time.
const AT_A_TIME: usize = 16;

/// What the registry answers, and the records of `names`, or of every service: those that it gives until `end`.
pub(super) async fn look(
    context: &Context,
    names: &[String],
    limit: Duration,
    end: Instant,
) -> (Vec<Finding>, Vec<Service>) {
    let began = Instant::now();
    let listed = match timeout(limit, context.registry().list()).await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => return (vec![failed(context, &error).took(millis(began))], Vec::new()),
        Err(_) => {
            let said = format!("no answer within {limit:?}");
            let hint = format!("{}, or a longer --timeout", start(context));
            return (vec![Finding::failed("registry", context.url(), said, hint)], Vec::new());
        }
    };
    let took = millis(began);
    let known: BTreeSet<_> = listed.into_iter().map(|service| service.name).collect();
    let said = format!("answers, and has {}", counted(known.len(), "service"));
    let mut found = vec![Finding::ok("registry", context.url(), said).took(took)];
    let wanted = if names.is_empty() { known } else { names.iter().cloned().collect() };
    let asked = wanted.len();
    let get = |(at, name): (usize, String)| async move {
        let got = timeout(limit, context.registry().get(&name)).await;
        (at, (name, got))
    };
    let gets = stream::iter(wanted.into_iter().enumerate()).map(get).buffer_unordered(AT_A_TIME);
    let all = all_by(end, gets).await;
    let left = asked - all.len();
    if left > 0 {
        let said = format!("it did not give {} in the time there was", counted(left, "service"));
        found.push(Finding::failed("registry", context.url(), said, "a longer --within"));
    }
    let mut services = Vec::new();
    for (name, got) in all {
        match got {
            Ok(Ok(records)) if records.is_empty() && !names.is_empty() => {
                let hint = "micro list, which names every service";
                found.push(Finding::failed("registry", name, "there is no such service", hint));
            }
            Ok(Ok(records)) => services.extend(records),
            Ok(Err(error)) => found.push(failed(context, &error)),
            Err(_) => {
                let said = format!("no answer within {limit:?}");
                found.push(Finding::failed("registry", name, said, "a longer --timeout"));
            }
        }
    }
    (found, services)
}

fn failed(context: &Context, error: &Error) -> Finding {
    Finding::failed("registry", context.url(), chain(error), start(context))
}

/// What to try where it does not answer.
fn start(context: &Context) -> String {
    match context.registry().backend() {
        "file" => "a directory that this user may read and write, as --registry file:/dir".to_owned(),
        "sidecar" => "micro sidecar on that address, or another --proxy (MICRO_PROXY_ADDRESS)".to_owned(),
        other => format!("starting {other} there, or another --registry (MICRO_REGISTRY)"),
    }
}

/// `1 service`, `2 services`.
pub(super) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

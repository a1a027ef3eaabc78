//! Whether this machine's clock is that of the registry's server, where that speaks HTTP and so tells the time.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use micro_discover::Address;
use tokio::time::timeout;

use super::hosts;
use crate::command::reply::Finding;
use crate::remote::{Http, request};

/// As far apart as this is bad: announcements are believed for seconds.
const TOO_FAR: Duration = Duration::from_secs(5);

/// How far the clocks are apart; nothing where there is no server that tells, or it does not answer.
pub(super) async fn look(registry: &str, limit: Duration) -> Option<Finding> {
    let (scheme, _) = registry.split_once("://")?;
    if !matches!(scheme, "etcd" | "consul" | "http") {
        return None;
    }
    let (host, port) = hosts::of(registry).into_iter().next()?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let address: Address = format!("{host}:{port}").parse().ok()?;
    let asked = SystemTime::now();
    let theirs = timeout(limit, theirs(&address, limit)).await.ok()??;
    let answered = SystemTime::now();
    // It was written down somewhere between, and says no parts of a second.
    let early = asked.duration_since(theirs + Duration::from_secs(1)).unwrap_or_default();
    let late = theirs.duration_since(answered).unwrap_or_default();
    let apart = early.max(late);
    let about = address.to_string();
    Some(match apart {
        Duration::ZERO => Finding::ok("clock", about, "the same, to a second"),
        apart => {
            let word = if late > early { "behind" } else { "ahead of" };
            let said = format!("this machine is {:.1} s {word} the registry's server", apart.as_secs_f64());
            let hint = "NTP on both: timedatectl says whether this one keeps time by it";
            match apart > TOO_FAR {
                true => Finding::failed("clock", about, said, hint),
                false => Finding::warning("clock", about, said, hint),
            }
        }
    })
}

/// What `Date` says in an answer, whatever else it says.
async fn theirs(address: &Address, limit: Duration) -> Option<SystemTime> {
    let asked = request(Method::GET, "/", HeaderMap::new(), Bytes::new()).ok()?;
    let answer = Http::new(address).open(asked, limit).await.ok()?;
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()
}

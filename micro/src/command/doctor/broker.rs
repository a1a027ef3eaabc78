//! Whether the broker answers. Nothing is published, and nothing stays behind.

use std::time::Duration;

use micro_broker::{Broker, Error, Subscribe};

use super::within::within;
use crate::causes::chain;
use crate::command::context::Context;
use crate::command::reply::Finding;

/// Asks the broker something that changes nothing.
pub(super) async fn look(context: &Context, is_set: bool, limit: Duration) -> Finding {
    let broker = match context.broker().await {
        Ok(broker) => broker,
        Err(failure) => {
            let hint = failure.what_to_try().unwrap_or("another --broker (MICRO_BROKER)").to_owned();
            return Finding::failed("broker", "--broker", chain(&failure), hint);
        }
    };
    let about = broker.backend();
    let hint = "starting it there, or another --broker (MICRO_BROKER)";
    let ask = async {
        match ask(&**broker).await {
            Ok(said) if is_set || about != "http" => Finding::ok("broker", about, said),
            Ok(said) => Finding::ok("broker", about, format!("{said}; --broker names another")),
            Err(error) => Finding::failed("broker", about, chain(&error), hint),
        }
    };
    let late = Finding::failed("broker", about, format!("no answer within {limit:?}"), hint);
    within(limit, ask, late).await
}

/// A topic that no stream is made for: its first word says none.
const TOPIC: &str = "*.micro-doctor";

async fn ask(broker: &dyn Broker) -> Result<&'static str, Error> {
    match broker.backend() {
        "memory" => return Ok("in this process alone: no other hears its events"),
        "http" => return Ok("has no server of its own: subscribers are in the registry"),
        "sidecar" => return Ok("the sidecar's"),
        // Groups are nothing there, and a subscription nothing that stays.
        "nats" => broker.subscribe(Subscribe::to("micro-doctor.nothing")).await.map(drop)?,
        _ => {
            let group = format!("micro-doctor-{:016x}", fastrand::u64(..));
            match broker.forget(TOPIC, &group).await {
                // That it has none is an answer too.
                Ok(()) | Err(Error::Invalid { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok("answers")
}

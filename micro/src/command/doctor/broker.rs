//! Whether the broker answers. Nothing is published, and nothing stays behind.

use std::time::Duration;

use micro_broker::{Broker, Error, Subscribe};

use super::hosts;
use super::within::within;
use crate::causes::chain;
use crate::command::context::Context;
use crate::command::reply::Finding;

/// Asks the broker something that changes nothing.
pub(super) async fn look(context: &Context, url: Option<&str>, limit: Duration) -> Finding {
    let broker = match context.broker().await {
        Ok(broker) => broker,
        Err(failure) => {
            let hint = failure.what_to_try().unwrap_or("another --broker (MICRO_BROKER)").to_owned();
            return Finding::failed("broker", "--broker", chain(&failure), hint);
        }
    };
    let about = broker.backend();
    let hint = "starting it there, or another --broker (MICRO_BROKER)";
    let hosts = url.map(hosts::of).unwrap_or_default();
    let ask = async {
        // A client that waits for its server would not say why it does.
        if let Some(why) = hosts::unreachable(&hosts, limit).await {
            return Finding::failed("broker", about, why, hint);
        }
        match ask(&**broker).await {
            Ok(said) if url.is_some() || about != "http" => Finding::ok("broker", about, said),
            Ok(said) => Finding::ok("broker", about, format!("{said}; --broker names another")),
            Err(error) => Finding::failed("broker", about, chain(&error), hint),
        }
    };
    let late = match hosts.is_empty() {
        true => Finding::failed("broker", about, format!("no answer within {limit:?}"), hint),
        false => Finding::failed(
            "broker",
            about,
            format!("it is reached, and does not answer within {limit:?}"),
            LOGIN,
        ),
    };
    within(limit, ask, late).await
}

/// What may keep a server that is there from answering.
const LOGIN: &str =
    "user, password and virtual host in --broker, as amqp://user:password@host/vhost, or a longer --timeout";

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

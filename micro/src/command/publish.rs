//! `publish`: says that something happened.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_core::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use micro_broker::{Event, Publisher};

use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::local::is_typed;
use super::reply::{Published, Reply};
use crate::duration;

/// Publishes an event.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Publish {
    /// TOPIC MESSAGE: words joined by dots, such as orders.created, and any text, or @FILE or - for the bytes there
    #[arg(required = true, value_name = "TOPIC MESSAGE")]
    pub words: Vec<String>,
    /// A header to send along; may be given several times
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// How often to publish it
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    pub count: u32,
    /// How long the broker may take to confirm it
    #[arg(long, default_value = "5s", value_parser = duration::parse)]
    pub timeout: Duration,
}

impl Command for Publish {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let Some((topic, body)) = self.words.split_first().filter(|(_, body)| !body.is_empty()) else {
                return Err(Failure::new(Kind::Usage, "require topic and message")
                    .hint("micro publish orders.created '{\"id\":7}'"));
            };
            let body = Bytes::from(context.bytes(&body.join(" "), "the message").await?);
            let broker = context.broker().await?;
            let publisher = Publisher::new(broker.clone()).within(self.timeout);
            for _ in 0..self.count {
                let mut event = Event::new(topic.as_str(), body.clone());
                for header in &self.header {
                    let (name, value) = self::header(header)?;
                    event = event.header(name, value);
                }
                let id = event.id.to_string();
                publisher.publish(event).await.map_err(|error| failure(error, "publish to", topic))?;
                replies.send(Reply::Published(Published { topic: topic.clone(), id })).await?;
            }
            broker.close().await;
            Ok(())
        })
    }

    fn shows_that_it_waits(&self) -> bool {
        !is_typed(self.words.last())
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let wrong = || Failure::new(Kind::Usage, "a header is NAME: VALUE").hint("-H 'x-tenant: a'");
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    Ok((name.trim().parse().map_err(|_| wrong())?, value.trim().parse().map_err(|_| wrong())?))
}

/// Why a broker could not do what it was asked.
pub(super) fn failure(error: micro_broker::Error, verb: &str, topic: &str) -> Failure {
    let kind = match &error {
        micro_broker::Error::Invalid { .. } => Kind::Usage,
        error if error.is_retryable() => Kind::Unavailable,
        _ => Kind::Other,
    };
    let failure = Failure::new(kind, error.to_string()).tried(format!("to {verb} {topic:?}"));
    let failure = match kind {
        Kind::Unavailable => failure.hint("again later, or another --broker (MICRO_BROKER)"),
        _ => failure,
    };
    failure.source(error)
}

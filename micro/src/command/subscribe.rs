//! `subscribe`: hears what happens.

use clap::Args;
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use micro_broker::Subscribe as Wanted;

use super::context::Context;
use super::failure::Failure;
use super::handler::{Command, Replies};
use super::publish::failure;
use super::reply::{Heard, Reply};

/// Shows the events of a topic as they are published, until it is stopped.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Subscribe {
    /// The topic; * stands for a word, > for all that follow
    pub topic: String,
    /// Share the events with everyone of this group, instead of getting all of them
    #[arg(long, visible_alias = "queue", value_name = "NAME")]
    pub group: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

impl Command for Subscribe {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let broker = context.broker().await?;
            let done = tokio::select! {
                () = context.stopped() => Ok(()),
                () = replies.unread() => Ok(()),
                done = self.follow(context, replies) => done,
            };
            broker.close().await;
            done
        })
    }

    fn is_endless(&self) -> bool {
        true
    }
}

impl Subscribe {
    async fn follow(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let mut wanted = Wanted::to(self.topic.as_str());
        if let Some(group) = &self.group {
            wanted = wanted.group(group.as_str());
        }
        let wrong = |error| failure(error, "subscribe to", &self.topic);
        let broker = context.broker().await?;
        let mut subscription = broker.subscribe(wanted).await.map_err(wrong)?;
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(delivery) = subscription.next().await else { return Ok(()) };
            // What nobody read is not heard: it is acknowledged once it was taken.
            replies.send(Reply::Heard(Heard::new(delivery.event()))).await?;
            delivery.ack().await.map_err(wrong)?;
            left -= 1;
        }
        Ok(())
    }
}

//! `tap`: requests that pass through gateways and sidecars, as they end.

use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use super::context::Context;
use super::failure::Failure;
use super::handler::{Command, Replies};
use super::reply::Reply;
use crate::catalog::Catalog;
use crate::duration;
use crate::traffic::{Exchange, Feeds, Seen, Traffic};

/// Shows each request that passes through a gateway or a sidecar, once it is over and it is known how it ended. Contents are
/// not shown.
#[derive(Args, Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tap {
    /// Only those for this service; every service unless given
    pub name: Option<String>,
    /// Only those to methods or paths that have this in them
    #[arg(long, value_name = "TEXT")]
    pub method: Option<String>,
    /// Only those of this caller
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,
    /// Only those that ended so, as UNAVAILABLE or 503; may be given several times
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<String>,
    /// Only those that failed by the fault of the service: 5xx, UNAVAILABLE, INTERNAL and the like
    #[arg(long)]
    pub failed: bool,
    /// Only those that took so long, or longer
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub slower: Option<Duration>,
    /// End after so many
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// What gateways and sidecars on other machines ask for
    #[arg(long, env = "MICRO_OPERATOR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub operator_token: Option<String>,
}

/// How long to wait for somebody who tells of requests before it is said that there is none.
const PATIENCE: Duration = Duration::from_secs(2);

impl Command for Tap {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            // What is wrong from the start is an error; later troubles are waited out.
            context.ask("to look for gateways and sidecars", context.registry().list()).await?;
            tokio::select! {
                () = context.stopped() => Ok(()),
                () = replies.unread() => Ok(()),
                done = self.follow(context, replies) => done,
            }
        })
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn shows_that_it_waits(&self) -> bool {
        false
    }
}

impl Tap {
    async fn follow(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let (catalog, traffic) = (Catalog::new(context.registry().clone()), Traffic::new());
        let mut seen = traffic.follow();
        let feeds = Feeds::new(catalog, traffic, None, self.operator_token.as_deref().map(Into::into));
        let mut alone = Box::pin(async {
            sleep(PATIENCE).await;
            if feeds.connected() == 0 {
                tracing::warn!(
                    "no gateway or sidecar tells of its requests: micro api --operator-address 127.0.0.1:0 does"
                );
            }
            std::future::pending::<()>().await;
        });
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let next = tokio::select! {
                next = seen.recv() => next,
                () = &mut alone => continue,
            };
            let missed = match next {
                Ok(next) => match &*next {
                    Seen::Request(exchange) if self.wants(exchange) => {
                        replies.send(Reply::Seen(exchange.clone())).await?;
                        left -= 1;
                        continue;
                    }
                    Seen::Request(_) => continue,
                    Seen::Missed(more) => *more,
                },
                Err(RecvError::Lagged(more)) => more,
                Err(RecvError::Closed) => break,
            };
            tracing::warn!(requests = missed, "there were more than can be shown one by one");
        }
        Ok(())
    }

    fn wants(&self, exchange: &Exchange) -> bool {
        let is = |wanted: &Option<String>, said: &str| wanted.as_deref().is_none_or(|wanted| wanted == said);
        is(&self.name, &exchange.service)
            && is(&self.from, &exchange.from)
            && self.method.as_ref().is_none_or(|text| exchange.method.contains(text))
            && (self.status.is_empty()
                || self.status.iter().any(|one| one.eq_ignore_ascii_case(&exchange.status)))
            && !(self.failed && exchange.ok)
            && self.slower.is_none_or(|least| exchange.millis >= least.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wanted_has_to_hold() {
        let mut late = Exchange::new("greeter", "/greeter.Greeter/Hello", "DEADLINE_EXCEEDED", false);
        (late.millis, late.from) = (150.0, "shop".to_owned());
        let wants = |change: &dyn Fn(&mut Tap)| {
            let mut tap = Tap::default();
            change(&mut tap);
            tap.wants(&late)
        };
        assert!(wants(&|_| {}));
        assert!(
            wants(&|tap| tap.name = Some("greeter".into())) && !wants(&|tap| tap.name = Some("greet".into()))
        );
        assert!(
            wants(&|tap| tap.method = Some("Hello".into())) && !wants(&|tap| tap.method = Some("Bye".into()))
        );
        assert!(
            wants(&|tap| tap.from = Some("shop".into())) && !wants(&|tap| tap.from = Some(String::new()))
        );
        assert!(wants(&|tap| tap.status = vec!["OK".into(), "deadline_exceeded".into()]));
        assert!(!wants(&|tap| tap.status = vec!["OK".into()]));
        assert!(wants(&|tap| tap.failed = true));
        assert!(wants(&|tap| tap.slower = Some(Duration::from_millis(150))));
        assert!(!wants(&|tap| (tap.failed, tap.slower) = (true, Some(Duration::from_millis(151)))));
    }
}

//! `stats` and `top`: what endpoints say of themselves, once or again and again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use micro_discover::Service;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::context::Context;
use super::failure::{Failure, Kind};
use super::get::find;
use super::handler::{Command, Replies};
use super::measure::measure;
use super::reply::{Measured, Reply, State};
use super::words::word;
use crate::duration;

/// Shows what each endpoint of a service says of itself: since when it runs, its memory, threads and requests.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The service's name
    pub name: String,
    /// How long an endpoint may take to answer
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    pub timeout: Duration,
}

/// Shows services, their endpoints, rates and latencies, again and again.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Top {
    /// The service's name; every service unless given
    pub name: Option<String>,
    /// How often endpoints are asked
    #[arg(long, default_value = "1s", value_parser = duration::parse)]
    pub interval: Duration,
    /// End after so many rounds
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// How many endpoints are asked at a time.
const AT_A_TIME: usize = 64;

impl Command for Stats {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let found = find(context, &self.name, "stats").await?;
            let measured = round(context, found, self.timeout).await;
            let (all, well) = (measured.len(), measured.iter().filter(|m| m.state == State::Serving).count());
            replies.send(Reply::Stats(measured)).await?;
            if well == all {
                return Ok(());
            }
            let what = format!("{} of {all} endpoints of {:?} do not serve", all - well, self.name);
            Err(Failure::new(Kind::NotServing, what)
                .tried("Debug.Stats on each endpoint")
                .hint(format!("micro health {}", word(&self.name))))
        })
    }
}

impl Command for Top {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
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
}

impl Top {
    async fn follow(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let mut before = HashMap::new();
        let mut again = interval(self.interval.max(Duration::from_millis(100)));
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            again.tick().await;
            let found = match &self.name {
                Some(name) => find(context, name, "top").await?,
                None => everything(context).await?,
            };
            let mut measured = round(context, found, self.interval.max(Duration::from_secs(1))).await;
            rates(&mut measured, &mut before);
            replies.send(Reply::Stats(measured)).await?;
            left -= 1;
        }
        Ok(())
    }
}

async fn everything(context: &Context) -> Result<Vec<Service>, Failure> {
    let listed = context.ask("to list services", context.registry().list()).await?;
    let names: BTreeSet<_> = listed.into_iter().map(|service| service.name).collect();
    let each = stream::iter(names).map(|name| async move {
        context.ask(&format!("to get {name:?}"), context.registry().get(&name)).await
    });
    let all: Vec<_> = each.buffered(16).collect().await;
    Ok(all.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

async fn round(context: &Context, found: Vec<Service>, limit: Duration) -> Vec<Measured> {
    let each = found.into_iter().flat_map(|service| {
        let (name, version) = (service.name, service.version);
        service.endpoints.into_iter().map(move |endpoint| (name.clone(), version.clone(), endpoint))
    });
    let each = stream::iter(each).map(|(name, version, endpoint)| async move {
        measure(context.connector(), &name, &version, &endpoint, limit).await
    });
    each.buffered(AT_A_TIME).collect().await
}

/// What was counted, and when, by service, endpoint and start: one that was started anew counts anew.
type Before = HashMap<(String, String, Option<u64>), (u64, u64, Instant)>;

fn rates(measured: &mut [Measured], before: &mut Before) {
    let now = Instant::now();
    let mut next = HashMap::new();
    for each in measured {
        let (Some(requests), Some(errors)) = (each.requests, each.errors) else { continue };
        let key = (each.service.clone(), each.id.clone(), each.started);
        if let Some((old_requests, old_errors, at)) = before.get(&key) {
            let seconds = now.duration_since(*at).as_secs_f64().max(0.001);
            let rate =
                |new: u64, old: u64| Some((new.saturating_sub(old) as f64 / seconds * 10.0).round() / 10.0);
            each.requests_per_second = rate(requests, *old_requests);
            each.errors_per_second = rate(errors, *old_errors);
        }
        next.insert(key, (requests, errors, now));
    }
    *before = next;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_what_was_counted_since_the_last_round_and_a_restart_begins_anew() {
        let mut before = Before::new();
        let mut at = async |requests: u64, started: u64| {
            tokio::time::advance(Duration::from_secs(2)).await;
            let mut one = [Measured {
                requests: Some(requests),
                errors: Some(0),
                started: Some(started),
                ..Measured::default()
            }];
            rates(&mut one, &mut before);
            one[0].requests_per_second
        };
        assert_eq!(at(100, 1).await, None);
        assert_eq!(at(105, 1).await, Some(2.5));
        assert_eq!(at(3, 2).await, None);
        assert_eq!(at(3, 2).await, Some(0.0));
    }
}

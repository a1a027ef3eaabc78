//! `bench`: calls a method again and again, and measures how long its answers take.

#![allow(rustdoc::broken_intra_doc_links, reason = "help texts have what may be left out in brackets")]

mod figures;
mod load;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use futures_core::future::BoxFuture;
use tokio::time::{interval, sleep};
use tonic::Code;

use self::load::{Load, Plan};
use super::ask::Ask;
use super::call::{Call, Source};
use super::called::{Parts, failure};
use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::reply::{Benched, Progress, Reply};
use super::words::word;
use crate::codes;
use crate::duration;

/// Calls a method again and again, several calls at a time, and measures how long answers take.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Bench {
    /// What is asked, and whom.
    #[command(flatten)]
    pub ask: Ask,
    /// How many calls are under way at a time, at most
    #[arg(long, short, default_value_t = 16, value_name = "N",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST))]
    pub concurrency: usize,
    /// How many calls begin in a second, however long answers take [default: a call when the one before it is over]
    #[arg(long, short, value_name = "PER SECOND", value_parser = per_second)]
    pub rate: Option<f64>,
    /// How long to go on
    #[arg(long, short = 'z', default_value = "10s", value_parser = duration::parse)]
    pub duration: Duration,
    /// End after so many calls
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<u64>,
    /// How long a call may take, to the end of its last answer
    #[arg(long, env = "MICRO_CLIENT_REQUEST_TIMEOUT", default_value = "10s", hide_env_values = true,
          value_parser = duration::parse)]
    pub timeout: Duration,
    #[command(flatten)]
    pub(super) source: Source,
}

/// More calls at a time than one machine makes.
const MOST: u64 = 10_000;
/// How often it is said how far it is.
const SAID_EACH: Duration = Duration::from_millis(500);

fn per_second(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate <= 1e6);
    rate.ok_or_else(|| "a rate is a number of calls in a second, above 0 and up to 1000000".to_owned())
}

impl Command for Bench {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.measure(context, replies))
    }

    fn is_endless(&self) -> bool {
        // A word to stop ends it, and what was measured until then is shown.
        true
    }

    fn shows_that_it_waits(&self) -> bool {
        // It says so itself.
        false
    }

    fn workers(&self) -> usize {
        0
    }
}

impl Bench {
    async fn measure(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let call = self.call();
        let (caller, parts) = call.begin(context).await?;
        let (parts, endpoint) = call.aim(&caller, &parts);
        let (text, headers) = (self.ask.whole(context, &parts).await?, self.ask.headers(context).await?);
        let asked = call.aimed(context, &caller, &parts, endpoint.as_deref(), headers).await?;
        let wrong = |error| failure(&error, &parts, context);
        let prepared = caller.prepare(asked).await.map_err(wrong)?;
        let plan = Plan { rate: self.rate, duration: self.duration, count: self.count };
        let load = Arc::new(Load::new(plan, prepared, text));
        tokio::select! {
            biased;
            () = context.stopped() => {}
            () = replies.unread() => return Ok(()),
            done = load.run(self.concurrency) => done.map_err(wrong)?,
            failed = tell(&load, replies) => return failed,
        }
        let benched = self.benched(&parts, &load);
        let judged = judge(&benched, &parts);
        replies.send(Reply::Benched(benched)).await?;
        judged
    }

    fn call(&self) -> Call {
        Call {
            ask: self.ask.clone(),
            timeout: Some(self.timeout),
            source: self.source.clone(),
            ..Call::default()
        }
    }

    fn benched(&self, parts: &Parts, load: &Load) -> Benched {
        let mut benched = load.figures().benched(load.ran());
        (benched.target, benched.method) = (parts.target.to_string(), parts.method.clone());
        (benched.concurrency, benched.rate, benched.missed) = (self.concurrency, self.rate, load.missed());
        benched
    }
}

/// Says how far it is, again and again.
async fn tell(load: &Load, replies: &Replies) -> Result<(), Failure> {
    sleep(SAID_EACH).await;
    let mut again = interval(SAID_EACH);
    loop {
        again.tick().await;
        let (calls, failed) = load.figures().counted();
        let seconds = load.ran().as_secs();
        let said = format!("{calls} calls in {seconds} s, {failed} failed");
        replies.send(Reply::Progress(Progress::new(said))).await?;
    }
}

/// A failure where any call was one: with the status that most of them ended with.
fn judge(benched: &Benched, parts: &Parts) -> Result<(), Failure> {
    let failures = benched.statuses.iter().filter(|(name, _)| *name != codes::name(Code::Ok));
    let Some((status, _)) = failures.max_by_key(|(_, calls)| **calls) else { return Ok(()) };
    let code = codes::named(status).unwrap_or(Code::Unknown);
    let what = format!("{} of {} calls failed, most of them by {status}", benched.failed, benched.calls);
    let hint = format!("micro call {} {}, which says why", word(&benched.target), word(&parts.method));
    Err(Failure::new(Kind::Status(code), what).hint(hint))
}

//! `doctor`: looks at all that this machine's configuration names, and says what to try where something is wrong.
//!
//! A check is a file here. It has a time to end in, and what it finds it says as [`Finding`]s; none ends the others.

mod broker;
mod certificate;
mod clock;
mod endpoint;
mod endpoints;
mod hosts;
mod registry;
mod validity;
mod within;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use tokio::time::Instant;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::reload::check as check_file;
use super::reply::{Finding, Outcome, Reply, Setting};
use crate::causes::chain;
use crate::duration::{self, after};

/// Looks at everything that the configuration names: settings and their files, the registry, its clock, the broker, host
/// names, certificates, and each endpoint.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Doctor {
    /// Only the endpoints of this service; may be given several times [default: those of every service]
    #[arg(value_name = "SERVICE")]
    pub names: Vec<String>,
    /// How long each check may take
    #[arg(long, default_value = "5s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// How long all checks may take together [default: six times --timeout]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub within: Option<Duration>,
    /// Every endpoint, and not 64 at most of each service
    #[arg(long)]
    pub all: bool,
    /// The settings in force, for the caller to fill in.
    #[arg(skip)]
    pub settings: Vec<Setting>,
    /// Where the settings lead to, for the caller to fill in.
    #[arg(skip)]
    pub places: Places,
    /// Why there is nothing to look at: settings that are wrong.
    #[arg(skip)]
    pub wrong: Option<Finding>,
}

/// Where settings lead to, with what may be secret: it is used and not shown.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Places {
    /// The registry's URL, or the sidecar's instead of it.
    pub registry: String,
    /// The broker's, where one is set.
    pub broker: Option<String>,
    /// That of the broker at which endpoints are called, where one is set.
    pub transport: Option<String>,
    /// The file whose table for the gateway is to be right too.
    pub file: Option<PathBuf>,
    /// PEM files with certificates: which setting, and the path.
    pub certificates: Vec<(&'static str, PathBuf)>,
}

impl Places {
    /// The registry's URL and nothing else.
    pub fn new(registry: impl Into<String>) -> Self {
        Self { registry: registry.into(), ..Self::default() }
    }
}

/// How many times the time of one check all of them have.
const USUAL_TIMES: u32 = 6;

impl Doctor {
    /// Looks at everything, for 5 s at most each, and at 64 endpoints at most of each service.
    pub fn new(settings: Vec<Setting>, places: Places) -> Self {
        Self {
            names: Vec::new(),
            timeout: Duration::from_secs(5),
            within: None,
            all: false,
            settings,
            places,
            wrong: None,
        }
    }

    async fn examine(&self, context: &Context) -> Vec<Finding> {
        let limit = self.timeout;
        let within = self.within.unwrap_or(limit.saturating_mul(USUAL_TIMES));
        let end = after(Instant::now(), within);
        let mut found: Vec<_> = self.settings.iter().map(setting).collect();
        if let Some(wrong) = &self.wrong {
            found.push(wrong.clone());
            let skipped = |check| Finding::skipped(check, "-", "settings are wrong");
            found.extend(["registry", "broker", "endpoint"].map(skipped));
            return found;
        }
        let Places { registry, broker, transport, file, certificates } = &self.places;
        let urls = [Some(registry), broker.as_ref(), transport.as_ref()].into_iter().flatten();
        let named: Vec<_> = urls.flat_map(|url| hosts::of(url)).collect();
        let (file, registered, clock, broker, files, shown) = tokio::join!(
            gateway_file(file.clone()),
            registry::look(context, &self.names, limit, end),
            clock::look(registry, limit),
            broker::look(context, broker.as_deref(), limit),
            certificate::files(certificates),
            certificate::of_servers(registry, limit),
        );
        let (listed, services) = registered;
        found.extend(file);
        found.extend(listed);
        found.extend([clock, Some(broker)].into_iter().flatten());
        found.extend(files.into_iter().chain(shown));
        let (chosen, others) = endpoints::choose(&services, self.all);
        let of_endpoints = chosen.iter().filter_map(|(_, endpoint)| hosts::at(&endpoint.address));
        let named: Vec<_> = named.into_iter().chain(of_endpoints).collect();
        let (known, looked) =
            tokio::join!(hosts::look(named, limit, end), endpoints::look(context, chosen, limit, end),);
        found.extend(known);
        found.extend(looked);
        found.extend(others);
        found
    }
}

/// A setting that was read is a right one.
fn setting(setting: &Setting) -> Finding {
    let value = setting.value.as_deref().unwrap_or("-");
    Finding::ok("setting", &setting.key, format!("{value}, by {}", setting.origin))
}

/// The file of the gateway's rules.
async fn gateway_file(file: Option<PathBuf>) -> Option<Finding> {
    let file = file?;
    let about = file.display().to_string();
    if !file.exists() {
        return Some(Finding::ok("file", about, "is not there, and need not be"));
    }
    Some(match check_file(file).await {
        Ok(()) => Finding::ok("file", about, "valid"),
        Err(failure) => Finding::failed("file", about, chain(&failure), "micro config validate"),
    })
}

impl Command for Doctor {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let found = self.examine(context).await;
            let failed = found.iter().filter(|one| one.outcome == Outcome::Failed).count();
            let all = found.len();
            replies.send(Reply::Findings(found)).await?;
            match failed {
                0 => Ok(()),
                _ => Err(Failure::new(Kind::Other, format!("{failed} of {all} checks failed"))
                    .hint("the lines that begin with try, from the first")),
            }
        })
    }
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Places").field("file", &self.file).finish_non_exhaustive()
    }
}

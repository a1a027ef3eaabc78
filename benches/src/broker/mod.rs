//! What an event costs, published and received in this process: through our brokers, and by the raw clients beside them.
//!
//! NATS and RabbitMQ are started by the bench, where their programs are found; client CPU is this process's.

mod group;
mod memory;
mod nats;
mod ours;
mod rabbitmq;

use tokio::runtime::{Builder, Runtime};
use tower::BoxError;

use self::group::Group;
use crate::{
    bar::Bar,
    options::Options,
    report::Report,
    server::{NatsServer, RabbitServer, Server},
    versions,
};

/// Moves events through one case, for valgrind or strace to look at; not for people.
pub const ALONE: &str = "broker-case";

/// Measures every group of clients whose server is there.
///
/// # Errors
///
/// When a server does not start or an event is lost.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    report.say(versions::of(&["tokio", "async-nats", "lapin"]));
    let runtime: Runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut bars = runtime.block_on(memory::group())?.measure(&runtime, options, report)?;
    if let Some(server) = NatsServer::start() {
        for group in runtime.block_on(nats::groups(&server.url()))? {
            bars.extend(group.measure(&runtime, options, report)?);
        }
    }
    if let Some(server) = RabbitServer::start() {
        let group: Group = runtime.block_on(rabbitmq::group(&server.url()))?;
        bars.extend(group.measure(&runtime, options, report)?);
    }
    Ok(bars)
}

/// Moves so many events through the case at this place of a group, on a server that runs already.
///
/// # Errors
///
/// When there is no such case, or an event is lost.
pub fn alone(url: &str, group: &str, case: usize, events: usize) -> Result<(), BoxError> {
    let runtime: Runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let groups = match group {
        "memory" => vec![runtime.block_on(memory::group())?],
        "rabbitmq" => vec![runtime.block_on(rabbitmq::group(url))?],
        _ => runtime.block_on(nats::groups(url))?.into(),
    };
    let groups = groups.iter().find(|one| one.name == group);
    let case = groups.and_then(|group| group.cases.get(case)).ok_or("there is no such case")?;
    runtime.block_on((case.run)(events))
}

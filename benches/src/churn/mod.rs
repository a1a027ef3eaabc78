//! What it costs to follow discovery: one change among many endpoints, and the memory of each.

mod case;

use tower::BoxError;

use self::case::{Kind, churn};
use crate::{
    bar::Bar,
    options::Options,
    report::{Report, Table},
    statistics::median,
    versions,
};

/// Numbers of endpoints.
const COUNTS: [usize; 3] = [10, 1_000, 10_000];

/// Measures each kind of policy with each number of endpoints.
///
/// # Errors
///
/// When a runtime cannot be built, or a change is never seen.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let changes = if options.quick { 20 } else { 100 };
    report.say(versions::of(&["tokio", "arc-swap", "micro-balance"]));
    report.say(format!(
        "{changes} times one endpoint leaves and comes back; CPU from the change to the snapshot that has it, \
         and what the process takes to sleep and wake as often"
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bars = Vec::new();
    for count in COUNTS {
        let mut table = Table::new(format!("N={count}"))
            .column("build ms", 2)
            .column("change us", 1)
            .column("waiting us", 1)
            .column("B/endpoint", 0);
        for kind in Kind::ALL {
            let measured = churn(&runtime, kind, count, changes)?;
            let (change, waiting) = (median(&measured.changes), median(&measured.waits));
            let figures = [measured.build.as_secs_f64() * 1e3, change, waiting, measured.bytes];
            table = table.row(format!("ours {}", kind.name()), figures);
            if count == 10_000 {
                bars.push(Bar::at_most(format!("churn/{}/change-us", kind.name()), change, kind.limit()));
                if kind == Kind::RoundRobin {
                    bars.push(Bar::at_most("churn/bytes-an-endpoint", measured.bytes, 200.0));
                }
            }
        }
        report.table(table.charted("change us"));
    }
    Ok(bars)
}

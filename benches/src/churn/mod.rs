//! What it costs to follow discovery: one change among many endpoints, and the memory of each.

mod case;

use tower::BoxError;

use self::case::{Kind, churn};
use crate::{bar::Bar, options::Options, statistics::median, versions};

/// Numbers of endpoints.
const COUNTS: [usize; 3] = [10, 1_000, 10_000];

/// Measures each kind of policy with each number of endpoints.
///
/// # Errors
///
/// When a runtime cannot be built, or a change is never seen.
pub fn run(options: &Options) -> Result<Vec<Bar>, BoxError> {
    let changes = if options.quick { 20 } else { 100 };
    println!("{}", versions::of(&["tokio", "arc-swap", "micro-balance"]));
    println!(
        "{changes} times one endpoint leaves and comes back; CPU from the change to the snapshot that has it"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bars = Vec::new();
    println!("\n{:<24}{:>8}{:>14}{:>14}{:>14}", "", "N", "build ms", "change us", "B/endpoint");
    for count in COUNTS {
        for kind in Kind::ALL {
            let measured = churn(&runtime, kind, count, changes)?;
            let change = median(&measured.changes);
            println!(
                "{:<24}{count:>8}{:>14.2}{change:>14.1}{:>14.0}",
                kind.name(),
                measured.build.as_secs_f64() * 1e3,
                measured.bytes,
            );
            if count == 10_000 {
                bars.push(Bar::at_most(format!("churn/{}/change-us", kind.name()), change, kind.limit()));
                if kind == Kind::RoundRobin {
                    bars.push(Bar::at_most("churn/bytes-an-endpoint", measured.bytes, 200.0));
                }
            }
        }
    }
    Ok(bars)
}

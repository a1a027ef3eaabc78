//! Picks and changes beside pingora-load-balancing and volo.
//!
//! They are in a package of their own, built when the word is given: see `rivals/Cargo.toml`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use tower::BoxError;

use crate::{
    bar::Bar,
    options::Options,
    report::{Report, Table},
    statistics::{median, paired_ratio},
    versions,
};

/// What pingora and volo are measured in.
const LOCK: &str = include_str!("../rivals/Cargo.lock");
/// What is measured, under which name it is shown, and in what.
const KINDS: [(&str, &str, &str, f64); 3] = [
    ("pick", "a pick that may be kept", "CPU ns", 1.0),
    ("consistent pick", "a pick by a key", "CPU ns", 1.0),
    ("change", "one endpoint leaves or comes back", "CPU us", 1e3),
];

/// One case at one number of endpoints.
#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    what: String,
    count: usize,
    /// CPU nanoseconds by round.
    nanos: Vec<f64>,
}

/// Builds and runs the other package.
///
/// # Errors
///
/// When it cannot be built, or does not give its figures.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let rounds = options.rounds(3, 9);
    let names = ["pingora-load-balancing", "volo", "tokio", "arc-swap"];
    report.say(versions::in_lock(LOCK, &names));
    report.say(format!("{rounds} rounds, medians; picks through a handle that is held"));
    let rows = measured(rounds)?;
    for (what, title, unit, nanos) in KINDS {
        let mut counts: Vec<usize> = rows.iter().map(|row| row.count).collect();
        counts.dedup();
        for count in counts {
            let of = rows.iter().filter(|row| row.what == what && row.count == count);
            let table = Table::new(format!("{title}, N={count}")).column(unit, 1).column("/ first", 3);
            let rows: Vec<&Row> = of.collect();
            let row = |table: Table, row: &&Row| {
                table.row(&row.name, [median(&row.nanos) / nanos, paired_ratio(&row.nanos, &rows[0].nanos)])
            };
            report.table(rows.iter().fold(table, row).charted(unit));
        }
    }
    Ok(bars(&rows))
}

fn measured(rounds: usize) -> Result<Vec<Row>, BoxError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest())
        .args(["--", &rounds.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the package of pingora and volo ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals/Cargo.toml")
}

fn bars(rows: &[Row]) -> Vec<Bar> {
    let nanos = |name: &str, what: &str, count| {
        let row = rows.iter().find(|row| row.name == name && row.what == what && row.count == count);
        row.map(|row| row.nanos.clone()).unwrap_or_default()
    };
    let ratio = |what: &str, ours: &str, theirs: &str, count| {
        paired_ratio(&nanos(ours, what, count), &nanos(theirs, what, count))
    };
    let (ketama, volo) = ("pingora Consistent (ketama)", "volo ConsistentHash");
    let pick = |count| ratio("pick", "ours RoundRobin", "pingora RoundRobin", count);
    let keyed = |ours, theirs| ratio("consistent pick", ours, theirs, 10_000);
    let change = ratio("change", "ours RoundRobin", "pingora RoundRobin", 10_000);
    let micros = |name| median(&nanos(name, "change", 10_000)) / 1e3;
    vec![
        Bar::at_most("rivals/pick/10/of-pingora", pick(10), 1.0 / 5.0),
        Bar::at_most("rivals/pick/1000/of-pingora", pick(1_000), 1.0 / 5.0),
        Bar::at_most("rivals/maglev/10000/of-ketama", keyed("ours Maglev", ketama), 1.0 / 15.0),
        Bar::at_most("rivals/maglev/10000/of-volo", keyed("ours Maglev", volo), 1.0 / 10.0),
        Bar::at_most("rivals/ring/10000/of-ketama", keyed("ours RingHash", ketama), 1.0),
        Bar::at_most("rivals/change/10000/of-pingora", change, 1.0 / 40.0),
        Bar::at_most("rivals/change/10000/round-robin-us", micros("ours RoundRobin"), 150.0),
        Bar::at_most("rivals/change/10000/ring-us", micros("ours RingHash"), 5_000.0),
        Bar::at_most("rivals/change/10000/maglev-us", micros("ours Maglev"), 5_000.0),
    ]
}

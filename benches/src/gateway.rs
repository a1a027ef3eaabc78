//! `micro api` beside nginx, HAProxy, Caddy and Envoy, by `gateway/run.py`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;
use tower::BoxError;

use crate::{
    bar::Bar,
    options::Options,
    report::{Report, Table},
};

/// What the script says.
#[derive(Debug, Deserialize)]
struct Told {
    skipped: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    case: String,
    rows: Vec<Row>,
    bars: Vec<Ratio>,
}

#[derive(Debug, Deserialize)]
struct Row {
    proxy: String,
    cpu_us: f64,
    rate: f64,
    failed: f64,
}

#[derive(Debug, Deserialize)]
struct Ratio {
    beside: String,
    ratio: f64,
    most: f64,
}

/// Runs the script, which starts every proxy it finds.
///
/// # Errors
///
/// When the gateway was not built, or the script ends badly.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let gateway = here.join("../target/dist/micro");
    if !gateway.exists() {
        return Err("no target/dist/micro: cargo build --profile dist -p micro".into());
    }
    let rounds = options.rounds(3, 7);
    let output = Command::new("python3")
        .arg(here.join("gateway/run.py"))
        .arg(gateway)
        .args(["--output", "json", "--rounds", &rounds.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("gateway/run.py ended with {}", output.status).into());
    }
    let told: Told = serde_json::from_slice(&output.stdout)?;
    report.say(format!(
        "one worker each, {rounds} rounds, medians; CPU is the kernel's count of each proxy's threads"
    ));
    told.skipped.iter().for_each(|name| report.say(format!("skipped: no {name}")));
    let mut bars = Vec::new();
    for case in told.cases {
        let table = Table::new(&case.case).column("CPU us", 1).column("requests/s", 0).column("failed", 0);
        let row = |table: Table, row: &Row| table.row(&row.proxy, [row.cpu_us, row.rate, row.failed]);
        report.table(case.rows.iter().fold(table, row).charted("CPU us"));
        let bar = |bar: &Ratio| {
            Bar::at_most(format!("gateway/{}/of-{}", case.case, bar.beside), bar.ratio, bar.most)
        };
        bars.extend(case.bars.iter().map(bar));
    }
    Ok(bars)
}

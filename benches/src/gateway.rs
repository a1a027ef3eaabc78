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
    /// Each with as many decimals as it is told with; what the bars are about comes first.
    columns: Vec<(String, usize)>,
    rows: Vec<Row>,
    bars: Vec<Ratio>,
}

#[derive(Debug, Deserialize)]
struct Row {
    proxy: String,
    figures: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Ratio {
    figure: String,
    beside: String,
    ratio: f64,
    most: f64,
    rounds: usize,
    /// Between these is the middle half of the rounds.
    half: (f64, f64),
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
        return Err("no target/dist/micro: bash .ci/dist".into());
    }
    let rounds = options.rounds(2, 4);
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
        "one worker each, {rounds} rounds, three times that for those whose p99 may be the best, medians; CPU is the kernel's count of each proxy's threads; idle is what each of 10 000 connections adds, once"
    ));
    told.skipped.iter().for_each(|name| report.say(format!("skipped: no {name}")));
    let mut bars = Vec::new();
    for case in told.cases {
        let table = case
            .columns
            .iter()
            .fold(Table::new(&case.case), |table, (name, decimals)| table.column(name, *decimals));
        let row = |table: Table, row: &Row| table.row(&row.proxy, row.figures.iter().copied());
        let table = case.rows.iter().fold(table, row);
        report.table(match case.columns.first() {
            Some((first, _)) => table.charted(first),
            None => table,
        });
        let bar = |bar: &Ratio| {
            let name = format!("gateway/{}/{}/of-{}", case.case, bar.figure, bar.beside);
            Bar::at_most(name, bar.ratio, bar.most)
        };
        for ratio in case.bars.iter().filter(|ratio| ratio.rounds > 1) {
            let Ratio { figure, beside, ratio, rounds, half: (low, high), .. } = ratio;
            report.say(format!(
                "{}/{figure} of {beside}: {ratio:.2}, in the middle half of {rounds} rounds {low:.2} to {high:.2}",
                case.case
            ));
        }
        bars.extend(case.bars.iter().map(bar));
    }
    Ok(bars)
}

//! Instructions of a balanced request, counted by valgrind: the same on every run and every busy machine.
//!
//! Each case runs twice in a process of its own, with few requests and with many; the difference is the requests'.
//! Only what `send` does is counted: clocks that are calibrated before take longer one time than another.

use std::process::{Command, Stdio};

use tokio::runtime::{Builder, Runtime};
use tower::BoxError;

use crate::{
    bar::Bar,
    options::Options,
    pick::{self, Named},
    report::{Report, Table},
    versions,
};

/// Runs one case for valgrind to look at; not for people.
pub const COUNTED: &str = "instructions-case";

/// How many endpoints there are.
const COUNTS: [usize; 2] = [10, 1_000];
/// Requests of the two runs.
const FEW: u64 = 10_000;
const MANY: u64 = 110_000;

/// The most that a request may take. Valgrind hides the processor's counter, so cases that read the time
/// ask the operating system for it instead and look dearer than they are.
const CLAIMS: [(&str, f64); 4] = [
    (pick::ROUND_ROBIN, 250.0),
    (pick::RANDOM, 250.0),
    (pick::LEAST_REQUEST, 250.0),
    (pick::PEAK_EWMA, 2_000.0),
];

/// Counts every case with each number of endpoints.
///
/// # Errors
///
/// When this program cannot be started again, or valgrind says nothing.
pub fn run(_: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    report.say(versions::of(&["tower", "tokio", "arc-swap", "micro-balance"]));
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        report.say("skipped: no valgrind on PATH");
        return Ok(Vec::new());
    }
    report.say(format!("callgrind, the difference of {MANY} and {FEW} requests of one task"));
    let names = pick::NAMES;
    let mut bars = Vec::new();
    for count in COUNTS {
        let mut table = Table::new(format!("N={count}")).column("instructions", 0);
        for name in names {
            let each = (collected(name, count, MANY)? - collected(name, count, FEW)?) / (MANY - FEW) as f64;
            table = table.row(name, [each]);
            let claim = CLAIMS.iter().find(|claim| claim.0 == name);
            bars.extend(
                claim.map(|claim| Bar::at_most(format!("instructions/{name}/{count}"), each, claim.1)),
            );
        }
        report.table(table.charted("instructions"));
    }
    Ok(bars)
}

/// How many instructions a process takes that sends so many requests.
fn collected(name: &str, count: usize, requests: u64) -> Result<f64, BoxError> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*instructions::send*"])
        .arg(std::env::current_exe()?)
        .arg(COUNTED)
        .args([name, &count.to_string(), &requests.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|line| line.1.trim());
    let collected = collected.filter(|_| output.status.success());
    Ok(collected.ok_or_else(|| format!("valgrind counted nothing for {name}: {said}"))?.parse()?)
}

/// Sends `requests` through the case of this name over `count` endpoints.
///
/// # Errors
///
/// When there is no such case, or a request fails.
pub fn serve(name: &str, count: usize, requests: u64) -> Result<(), BoxError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // The others are dropped: what they do beside would be counted too.
    let mut case = pick::cases(&runtime, count)?
        .into_iter()
        .find(|case| case.name == name)
        .ok_or("there is no such case")?;
    send(&runtime, &mut case, requests)
}

/// What is counted, with whatever other tasks do meanwhile.
#[inline(never)]
fn send(runtime: &Runtime, case: &mut Named, requests: u64) -> Result<(), BoxError> {
    runtime.block_on(case.case.run_here(requests))
}

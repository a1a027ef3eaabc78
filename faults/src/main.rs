//! Does to real processes whatever can go wrong, and says what callers notice of it beside what they may.
//!
//! ```text
//! cargo run --release -p faults                # every row, a table at the end
//! cargo run --release -p faults -- run 2 5 24  # these rows
//! cargo run --release -p faults -- soak --minutes 30
//! ```

mod elsewhere;
mod fleet;
mod load;
mod matrix;
mod node;
mod outcome;
mod process;
mod proxy;
mod registry;
mod report;
mod scenarios;
mod soak;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use micro_tower::transport::HttpVersion;

use crate::{
    matrix::{MATRIX, Proof, Row},
    report::Line,
};

/// What goes wrong, done to real processes, and what callers notice.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  faults\n  faults run 2 5 24\n  faults run --here --output json\n  faults soak --minutes 30"
)]
struct Arguments {
    #[command(subcommand)]
    word: Option<Word>,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Plays rows of the matrix, all unless some are named.
    Run(Run),
    /// Lists the rows.
    List,
    /// Goes on for a long time, and looks for what grows.
    Soak {
        /// For how long.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: u64,
        /// What goes wrong follows from it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Is a node of a scenario.
    #[command(hide = true)]
    Node {
        /// Where it announces itself, if anywhere.
        #[arg(long, value_name = "URL")]
        registry: Option<String>,
    },
}

#[derive(Args, Debug, Default)]
struct Run {
    /// Numbers of rows.
    rows: Vec<u8>,
    /// Only what this program does itself; no tests of other packages.
    #[arg(long)]
    here: bool,
    /// Clients speak HTTP/1.1; otherwise HTTP/2.
    #[arg(long)]
    http1: bool,
    /// Takes minutes where a row has a long form.
    #[arg(long)]
    long: bool,
    /// Writes the table to this file as well, in Markdown.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// For people, or for machines.
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    output: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().word.unwrap_or(Word::Run(Run::default())) {
        Word::Node { registry } => {
            node::serve(registry.as_deref()).await?;
            // Its thread still waits for standard input.
            std::process::exit(0);
        }
        Word::List => {
            MATRIX.iter().for_each(|row| println!("{:>5}  {}: {}", row.label(), row.fault, row.goal));
            Ok(ExitCode::SUCCESS)
        }
        Word::Soak { minutes, seed } => {
            let outcome = soak::soak(Duration::from_secs(minutes * 60), seed).await?;
            println!("{}", outcome.measured);
            Ok(code(outcome.verdict == outcome::Verdict::Missed))
        }
        Word::Run(run) => play(&run).await,
    }
}

fn code(missed: bool) -> ExitCode {
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn play(run: &Run) -> anyhow::Result<ExitCode> {
    let unknown = run.rows.iter().find(|number| MATRIX.iter().all(|row| !row.numbers.contains(number)));
    if let Some(number) = unknown {
        anyhow::bail!("the matrix has no row {number}: `faults list` shows those there are");
    }
    if run.http1 {
        fleet::speak(HttpVersion::Http1);
    }
    let mut lines = Vec::new();
    for row in MATRIX
        .iter()
        .filter(|row| run.rows.is_empty() || row.numbers.iter().any(|number| run.rows.contains(number)))
    {
        let outcome = match &row.proof {
            Proof::Tests(..) if run.here => continue,
            Proof::Tests(package, target, names) => elsewhere::tests(package, target, names).await,
            Proof::Scenario(play) => play(run.long).await,
        };
        let line = Line::new(row, outcome);
        eprintln!("{}", line.short());
        lines.push(line);
    }
    match run.output.as_str() {
        "json" => println!("{}", serde_json::to_string_pretty(&lines)?),
        _ => println!("{}", report::table(&lines)),
    }
    if let Some(path) = &run.report {
        let text = report::markdown(&lines);
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(code(lines.iter().any(Line::missed)))
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("numbers", &self.numbers)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

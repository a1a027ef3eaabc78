//! The table at the end, for people and for machines, and as a file to keep.

use std::{fmt::Write as _, process::Command};

use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde::Serialize;

use crate::{
    matrix::Row,
    outcome::{Outcome, Verdict},
};

/// One line of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    row: String,
    fault: &'static str,
    goal: &'static str,
    measured: String,
    verdict: Verdict,
}

impl Line {
    pub(crate) fn new(row: &Row, outcome: anyhow::Result<Outcome>) -> Self {
        let outcome =
            outcome.unwrap_or_else(|error| Outcome::new(false, format!("could not be played: {error:#}")));
        let Outcome { measured, verdict } = outcome;
        Self { row: row.label(), fault: row.fault, goal: row.goal, measured, verdict }
    }

    /// Whether the goal was missed.
    pub(crate) fn missed(&self) -> bool {
        self.verdict == Verdict::Missed
    }

    /// As it is shown when it is known.
    pub(crate) fn short(&self) -> String {
        format!("{:>5} {:<7} {}: {}", self.row, word(self.verdict), self.fault, self.measured)
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Missed => "MISSED",
        Verdict::Skipped => "skipped",
    }
}

pub(crate) fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["#", "fault", "goal", "measured", "verdict"]);
    for line in lines {
        let number = &line.row;
        table.add_row([number, line.fault, line.goal, &*line.measured, word(line.verdict)]);
    }
    table.to_string()
}

pub(crate) fn markdown(lines: &[Line]) -> String {
    let mut text = String::from("# What goes wrong, and what callers notice of it\n\n");
    let _ = writeln!(
        text,
        "Written by `cargo run --release -p faults -- {}`.\n\n{}",
        std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        versions()
    );
    text.push_str("| # | fault | goal | measured | verdict |\n|---|---|---|---|---|\n");
    for line in lines {
        let measured = line.measured.replace('|', "/").replace('\n', " ");
        let (number, verdict) = (&line.row, word(line.verdict));
        let _ = writeln!(text, "| {number} | {} | {} | {measured} | {verdict} |", line.fault, line.goal);
    }
    let missed = lines.iter().filter(|line| line.missed()).count();
    let skipped = lines.iter().filter(|line| line.verdict == Verdict::Skipped).count();
    let _ = writeln!(text, "\n{} rows, {missed} missed, {skipped} skipped.", lines.len());
    text
}

/// When, on what, and with which compiler this ran.
fn versions() -> String {
    let say = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let date = say("date", &["-u", "+%Y-%m-%d %H:%M UTC"]);
    let commit = say("git", &["rev-parse", "--short", "HEAD"]);
    let (kernel, rust) = (say("uname", &["-sr"]), say("rustc", &["--version"]));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let known: Vec<String> = [date, commit, kernel, rust].into_iter().flatten().collect();
    format!("{}, {cores} cores.\n", known.join(", "))
}

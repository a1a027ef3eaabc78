//! `cargo run --release -p benches -- <word>`: measures, and fails when a claim no longer holds.

use std::process::ExitCode;

use benches::{all, broker, e2e, instructions, options::Options, tails, word::WORDS};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tower::BoxError;

/// Every word in turn, and a page of them.
const ALL: &str = "all";
/// The page alone.
const PAGE: &str = "page";

fn main() -> Result<ExitCode, BoxError> {
    let matches = command().get_matches();
    let Some((name, matches)) = matches.subcommand() else { return Ok(ExitCode::SUCCESS) };
    let held = match name {
        e2e::SERVER => e2e::serve().map(|()| true)?,
        tails::SERVER => tails::serve().map(|()| true)?,
        instructions::COUNTED => counted(matches).map(|()| true)?,
        broker::ALONE => alone(matches).map(|()| true)?,
        ALL => all::run(&options(matches))?,
        PAGE => all::page()?,
        _ => match WORDS.iter().find(|word| word.name == name) {
            Some(word) => word.measure(&options(matches))?,
            None => false,
        },
    };
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the case that is named.
fn counted(matches: &ArgMatches) -> Result<(), BoxError> {
    let text = |name| text(matches, name);
    instructions::serve(text("case"), text("count").parse()?, text("requests").parse()?)
}

/// Moves events through the case that is named.
fn alone(matches: &ArgMatches) -> Result<(), BoxError> {
    let text = |name| text(matches, name);
    broker::alone(text("url"), text("group"), text("case").parse()?, text("events").parse()?)
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}

fn options(matches: &ArgMatches) -> Options {
    let number = |name| matches.get_one(name).copied();
    Options {
        rounds: number("rounds"),
        quick: matches.get_flag("quick"),
        tasks: number("tasks").unwrap_or(64).max(1),
        payload: number("payload").unwrap_or(32),
        workers: number("workers").unwrap_or(0),
    }
}

fn command() -> Command {
    let number =
        |name, help| Arg::new(name).long(name).global(true).value_parser(value_parser!(usize)).help(help);
    Command::new("benches")
        .about("Measures ours beside its peers in one run; exits with 1 when a claim does not hold.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(number("rounds", "How often each case is measured"))
        .arg(
            Arg::new("quick")
                .long("quick")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Few and short rounds: a first impression, too noisy to claim anything by"),
        )
        .arg(number("tasks", "e2e: calls at the same time [64]"))
        .arg(number("payload", "e2e: bytes of a call [32]"))
        .arg(number("workers", "e2e: threads of the client's runtime, 0 for the current thread [0]"))
        .subcommands(WORDS.iter().map(|word| Command::new(word.name).about(word.about)))
        .subcommand(Command::new(ALL).about("every word in turn, and benches/REPORT.md with their charts"))
        .subcommand(Command::new(PAGE).about("benches/REPORT.md of what each word measured last"))
        .subcommand(
            Command::new(instructions::COUNTED).hide(true).args(["case", "count", "requests"].map(Arg::new)),
        )
        .subcommand(
            Command::new(broker::ALONE).hide(true).args(["url", "group", "case", "events"].map(Arg::new)),
        )
        .subcommand(Command::new(e2e::SERVER).hide(true))
        .subcommand(Command::new(tails::SERVER).hide(true))
}

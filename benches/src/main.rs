//! `cargo run --release -p benches -- <word>`: measures, and fails when a claim no longer holds.

use std::process::ExitCode;

use benches::word::{Options, WORDS, machine};
use clap::{Arg, ArgAction, Command, value_parser};
use tower::BoxError;

fn main() -> Result<ExitCode, BoxError> {
    let matches = command().get_matches();
    let Some((name, _)) = matches.subcommand() else { return Ok(ExitCode::SUCCESS) };
    let options = Options { rounds: matches.get_one("rounds").copied(), quick: matches.get_flag("quick") };
    let mut held = true;
    for word in WORDS.iter().filter(|word| word.name == name) {
        println!("{name}: {}; {}", word.about, machine());
        let bars = (word.run)(&options)?;
        println!("\nafterwards: {}", machine());
        for bar in bars {
            held &= bar.holds();
            println!("{bar}");
        }
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn command() -> Command {
    let words = WORDS.iter().map(|word| Command::new(word.name).about(word.about));
    Command::new("benches")
        .about("Measures ours beside its peers in one run; exits with 1 when a claim does not hold.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .global(true)
                .value_parser(value_parser!(usize))
                .help("How often each case is measured"),
        )
        .arg(
            Arg::new("quick")
                .long("quick")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Few and short rounds: a first impression, too noisy to claim anything by"),
        )
        .subcommands(words)
}

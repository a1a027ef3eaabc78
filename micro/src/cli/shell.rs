//! `cli`: commands, one after the other.

use clap::{Args, CommandFactory, Parser, Subcommand};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::arguments::Arguments;
use super::execute::{Style, execute};
use super::prompt::lines;
use super::report::report;
use super::signals;
use super::tab::Tab;
use crate::command::{Context, Failure, Kind, Request, read, words};
use crate::near::closest;
use crate::show::Format;

/// Commands, one a line.
#[derive(Debug, Parser)]
#[command(
    name = "micro",
    no_binary_name = true,
    disable_version_flag = true,
    color = clap::ColorChoice::Never,
    override_usage = "COMMAND [OPTIONS]",
    after_help = "\
Examples:
  list
  call greeter Greeter.Hello {\"name\": \"John\"} -o yaml     JSON needs no quotes
  call greeter Greeter.Chat -d -                          documents as they are typed, until Ctrl-D
  help call

Tab completes commands, services, methods and endpoints; Ctrl-R looks for what was typed before.
Ctrl-C ends the command that runs; quit, exit or Ctrl-D ends the shell."
)]
struct Typed {
    #[command(subcommand)]
    request: Request,
    #[command(flatten)]
    written: Written,
}

/// How the answers of one line are to be written, where not as the shell was told.
#[derive(Args, Debug)]
pub(super) struct Written {
    /// How answers are written
    #[arg(long, short, global = true, value_enum)]
    output: Option<Format>,
    /// Only these fields of each row, in this order; dots lead into objects
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAMES")]
    fields: Vec<String>,
}

impl Written {
    fn over(self, style: &Style) -> Style {
        let mut style = style.clone();
        if let Some(format) = self.output {
            (style.format, style.chosen) = (format, true);
        }
        if !self.fields.is_empty() {
            style.fields = self.fields;
        }
        style
    }
}

/// Reads lines until there are no more, or one says quit; runs each, and goes on after a failure. Ctrl-C ends the
/// command that runs, not the shell; SIGTERM ends both. Answers with the exit code of the last command.
pub(super) async fn shell(context: &Context, style: &Style, colours: bool) -> u8 {
    let (mut lines, done) = lines(Tab::new(context.clone(), Handle::current()));
    let mut last = 0;
    while let Some(line) = lines.recv().await {
        match words(&line) {
            Err(failure) => last = report(&failure, colours),
            Ok(words) if words.is_empty() => {}
            Ok(words) if matches!(&*words[0], "quit" | "exit") => return last,
            Ok(words) => {
                last = one(words, context, style).await.unwrap_or_else(|failure| report(&failure, colours));
                if last == signals::TERMINATED {
                    return last;
                }
            }
        }
        if done.send(()).await.is_err() {
            break;
        }
    }
    last
}

/// Runs a command until it is done or a signal says stop, and gives its exit code.
async fn one(mut words: Vec<String>, context: &Context, style: &Style) -> Result<u8, Failure> {
    // As it stands in guides, for another shell.
    if words[0] == "micro" && words.len() > 1 {
        words.remove(0);
    }
    match words[0].as_str() {
        "?" => "help".clone_into(&mut words[0]),
        "ls" => "list".clone_into(&mut words[0]),
        _ => {}
    }
    if words[0] != "help" && !Request::has(&words[0]) {
        return Err(unknown(&words[0]));
    }
    let Typed { request, written } = read(words)?;
    let stop = signals::word()?.shared();
    let context = context.clone().until(stop.clone().map(drop));
    let work = execute(request.command(), &context, written.over(style).of(&request));
    if request.command().is_endless() {
        // It withdraws and says good-bye by itself.
        work.await?;
        let told = stop.now_or_never();
        return Ok(told.filter(|code| *code == signals::TERMINATED).unwrap_or(0));
    }
    tokio::select! {
        done = work => done.map(|()| 0),
        code = stop => Ok(code),
    }
}

fn unknown(word: &str) -> Failure {
    let here = Request::augment_subcommands(clap::Command::new("micro"));
    let meant = || closest(word, here.get_subcommands().map(clap::Command::get_name));
    let hint = match Arguments::command().find_subcommand(word) {
        Some(command) => format!("micro {}, outside of this shell", command.get_name()),
        None => meant().unwrap_or("help").to_owned(),
    };
    Failure::new(Kind::Usage, "unknown command").tried(format!("to run {word:?}")).hint(hint)
}

//! `cli`: commands, one after the other.

use clap::{Args, Parser};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::execute::{Style, execute};
use super::prompt::lines;
use super::report::report;
use super::signals;
use super::tab::Tab;
use crate::command::{Context, Failure, Kind, Request, read, words};
use crate::show::Format;

/// A line of the shell.
#[derive(Debug, Parser)]
#[command(name = "micro", no_binary_name = true, disable_version_flag = true, color = clap::ColorChoice::Never)]
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
    match words[0].as_str() {
        "?" => "help".clone_into(&mut words[0]),
        "ls" => "list".clone_into(&mut words[0]),
        _ => {}
    }
    if words[0] != "help" && !Request::has(&words[0]) {
        let failure = Failure::new(Kind::Usage, "unknown command").tried(format!("to run {:?}", words[0]));
        return Err(failure.hint("help"));
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

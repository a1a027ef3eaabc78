//! From argv to an exit code.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::{Shell, generate};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use super::arguments::{Arguments, Format, Global, Order};
use super::output::Output;
use super::report::report;
use super::screen::Screen;
use super::{colour, signals, source};
use crate::command::{Context, Failure, Kind, Replies, Reply, Request, redacted};

/// Does what the arguments say, the first of which is the program's name.
///
/// Takes over the process: standard output and error, the log, and for commands that run until they are
/// stopped SIGINT and SIGTERM.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to be told.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match arguments.order {
        Order::Completions { shell } => completions(shell),
        Order::Request(request) => serve(&arguments.global, request),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(report(&failure)),
    }
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "micro", &mut script);
    written(io::stdout().write_all(&script)).map(drop)
}

fn serve(global: &Global, mut request: Request) -> Result<(), Failure> {
    log();
    if let Some(record) = request.record_mut() {
        *record = source::read(record)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, "cannot start").source(error))?;
    runtime.block_on(execute(global, &request))
}

async fn execute(global: &Global, request: &Request) -> Result<(), Failure> {
    let command = request.command();
    let mut context = Context::open(&global.registry)?;
    if command.is_endless() {
        let stop = signals::stop()
            .map_err(|error| Failure::new(Kind::Other, "cannot listen to signals").source(error))?;
        context = context.until(stop);
    }
    let screen = Screen { colour: colour::wanted(&io::stdout()) };
    let several = command.is_endless() || matches!(request, Request::Deregister(_));
    let output = Output::new(global.output, screen, several);
    let (replies, shown) = Replies::channel();
    let work = async move {
        let done = command.run(&context, &replies).await;
        // Closes the channel, and so ends the writing.
        drop(replies);
        done
    };
    let (done, written) = tokio::join!(work, write(shown, output, global));
    match done {
        Err(failure) if failure.kind() != Kind::Unread => Err(failure),
        _ => written,
    }
}

async fn write(
    mut replies: mpsc::Receiver<Reply>,
    mut output: Output,
    global: &Global,
) -> Result<(), Failure> {
    while let Some(reply) = replies.recv().await {
        if matches!(&reply, Reply::Services(services) if services.is_empty())
            && global.output == Format::Table
        {
            let note = format!("no services in the registry {}\n", redacted(&global.registry));
            io::stderr().write_all(note.as_bytes()).ok();
        }
        let gone = written(output.write(&reply))?;
        if gone {
            break;
        }
    }
    Ok(())
}

/// Whether the reader has gone, which is its right.
fn written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(Failure::new(Kind::Other, "cannot write to standard output").source(error)),
    }
}

/// What the library says goes to standard error.
fn log() {
    let filter = EnvFilter::try_from_env("MICRO_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour::wanted(&io::stderr()))
        .with_target(false)
        .init();
}

//! From argv to an exit code.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::arguments::{Arguments, Global, Order};
use super::complete::asked;
use super::config::{Asked, Config};
use super::contexts::Choose;
use super::doctor::ready;
use super::execute::{Style, execute};
use super::live::live;
use super::open::{context, runtime};
use super::report::report;
use super::shell::shell;
use super::{colour, signals};
use crate::command::{Command, Context, Failure, Kind, Request};
use crate::settings::{KEYS, Key, Settings};
use crate::show::Format;

/// What a command that is soon over tells beside its answer: not each attempt of the client of RabbitMQ, of which the last is
/// in the failure.
const ONCE: &str = "warn,lapin=off";

/// Does what the arguments say, the first of which is the program's name.
///
/// Takes over the process: standard output and error, the log, and for commands that run until they are
/// stopped SIGINT and SIGTERM.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let given = match asked(&arguments) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => Arguments::try_parse_from(arguments),
        Err(error) => Err(error),
    };
    let arguments = match given {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to be told.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let wanted = arguments.global.color.clone();
    match serve(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => ExitCode::from(report(&failure, colour::wanted(&io::stderr(), wanted.as_deref()))),
    }
}

fn serve(mut arguments: Arguments) -> Result<u8, Failure> {
    let (global, order) = (&arguments.global, &mut arguments.order);
    // What needs no settings works without them, were they wrong.
    let alone: Option<&dyn Command> = match order {
        Order::Completion(completion) => Some(completion),
        Order::Man(manual) => Some(manual),
        Order::Help(help) => Some(help),
        Order::Version(version) => Some(version),
        Order::New(new) => Some(new),
        _ => None,
    };
    if let Some(command) = alone {
        return now(command, &Context::open("memory:")?.local(), style(global, None)?);
    }
    if let Order::Doctor(doctor) = order {
        let (context, settings) = ready(doctor, global)?;
        settings.as_ref().inspect(|settings| log(settings, ONCE));
        return now(&*doctor, &context, style(global, settings.as_ref())?);
    }
    let given = global.given()?;
    if let Order::Context(asked) = order {
        let choose = Choose { asked, given: &given };
        return now(&choose, &Context::open("memory:")?, style(global, None)?);
    }
    let settings = Settings::resolve(&given)?;
    log(&settings, if order.face().is_some() { "warn" } else { ONCE });
    let style = style(global, Some(&settings))?;
    if let Order::Config { asked } = order {
        let file = if matches!(asked, Asked::Validate) { given.face() } else { None };
        return now(&Config { settings: &settings, file }, &Context::open("memory:")?, style);
    }
    let context = context(&settings, global.insecure)?.local();
    if let Order::Run(run) = order {
        // What the service is to find and to be found by is what this program does.
        let keys = KEYS.iter().filter(|key| ["registry", "broker", "transport"].contains(&key.name));
        let value = |key: &Key| Some((key.variable.to_owned(), settings.get(key.name)?.to_owned()));
        run.variables = keys.filter_map(value).collect();
    }
    if let Order::Api(api) = order {
        api.files = given.faces();
    }
    if let Some(face) = order.face() {
        let style = Style { several: true, ..style };
        return runtime(face.workers())?.block_on(async {
            let context = context.until(signals::stop()?);
            execute(face, &context, style).await.map(|()| 0)
        });
    }
    match order {
        Order::Request(request) => {
            runtime(request.command().workers())?.block_on(request_once(request, context, style)).map(|()| 0)
        }
        Order::Cli => {
            let colours = colour::wanted(&io::stderr(), settings.get("color"));
            Ok(runtime(1)?.block_on(shell(&context, &style, colours)))
        }
        _ => Err(Failure::new(Kind::Other, "there is no such command in this program")),
    }
}

fn now(command: &dyn Command, context: &Context, style: Style) -> Result<u8, Failure> {
    runtime(1)?.block_on(execute(command, context, style)).map(|()| 0)
}

async fn request_once(request: &Request, context: Context, style: Style) -> Result<(), Failure> {
    let context = match request.command().is_endless() {
        true => context.until(signals::stop()?),
        false => context,
    };
    if let (Request::Top(top), Format::Table, true) = (request, style.format, io::stdout().is_terminal())
        && style.fields.is_empty()
    {
        return live(top, &context).await;
    }
    execute(request.command(), &context, style.of(request)).await
}

fn style(global: &Global, settings: Option<&Settings>) -> Result<Style, Failure> {
    let set = |name| settings.and_then(|settings| settings.get(name));
    let format = match (global.output, set("output")) {
        (Some(format), _) => format,
        (None, Some(name)) => {
            Format::from_str(name, false).map_err(|error| Failure::new(Kind::Config, error))?
        }
        (None, None) => Format::Table,
    };
    let colour = colour::wanted(&io::stdout(), set("color").or(global.color.as_deref()));
    let chosen = global.output.is_some();
    Ok(Style { format, chosen, fields: global.fields.clone(), colour, several: false, read: false })
}

/// What the library says goes to standard error.
/// `usual` is what is told where MICRO_LOG does not say.
fn log(settings: &Settings, usual: &str) {
    let filter = EnvFilter::try_from_env("MICRO_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour::wanted(&io::stderr(), settings.get("color")))
        .with_target(false)
        .init();
}

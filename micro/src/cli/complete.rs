//! How a command line may go on: commands and flags by themselves, and what the registry and services say.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Command, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, ValueCompleter};
use micro_discover::Service;
use prost_reflect::ServiceDescriptor;
use tokio::time::timeout;

use super::arguments::Arguments;
use super::open::{context, runtime};
use super::topics::TOPICS;
use crate::call::Target;
use crate::command::{Context, Failure};
use crate::settings::{Given, KEYS, Layer, Settings};

/// How long they may take: somebody waits behind a key.
const WITHIN: Duration = Duration::from_millis(500);

/// Answers a shell that asks how a line goes on, as `COMPLETE` says. False where none asks.
pub(super) fn asked(arguments: &[OsString]) -> Result<bool, clap::Error> {
    let words = arguments.iter().skip_while(|word| *word != "--").skip(1);
    // Up to the one that is to be completed, which some shells name and others put at the end.
    let last = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    let words = words.take(last.map_or(usize::MAX, |last: usize| last.saturating_add(1)));
    let line: Line = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let names: Names = Arc::new(|line, about| outside(line, about).unwrap_or_default());
    let here = std::env::current_dir().ok();
    let command = || with_words(with_names(Arguments::command(), &line, &names), &line);
    CompleteEnv::with_factory(command).bin("micro").try_complete(arguments, here.as_deref())
}

/// What names are wanted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Services,
    /// Of the service that the line names.
    Methods,
    Endpoints,
}

pub(super) type Line = Arc<[String]>;
pub(super) type Names = Arc<dyn Fn(&[String], About) -> Vec<String> + Send + Sync>;

/// Each command, its argument, and what names go there, word by word.
const PLACES: [(&str, &str, &[About]); 18] = [
    ("get", "words", &[About::Services]),
    ("describe", "target", &[About::Services]),
    ("describe", "symbol", &[About::Methods]),
    ("describe", "endpoint", &[About::Endpoints]),
    ("call", "words", &[About::Services, About::Methods]),
    ("call", "endpoint", &[About::Endpoints]),
    ("stream", "words", &[About::Services, About::Methods]),
    ("stream", "endpoint", &[About::Endpoints]),
    ("bench", "words", &[About::Services, About::Methods]),
    ("bench", "endpoint", &[About::Endpoints]),
    ("watch", "name", &[About::Services]),
    ("tap", "name", &[About::Services]),
    ("health", "name", &[About::Services]),
    ("stats", "name", &[About::Services]),
    ("top", "name", &[About::Services]),
    ("doctor", "names", &[About::Services]),
    ("deregister", "record", &[About::Services]),
    ("deregister", "id", &[About::Endpoints]),
];

/// `command`, of which arguments that are names are completed by `names`.
pub(super) fn with_names(command: Command, line: &Line, names: &Names) -> Command {
    // The shell has fewer commands.
    let places = PLACES.iter().filter(|(of, ..)| command.find_subcommand(of).is_some()).collect::<Vec<_>>();
    places.into_iter().fold(command, |command, &(of, argument, about)| {
        let completer = Completer { line: line.clone(), names: names.clone(), about };
        let completer = ArgValueCompleter::new(completer);
        command.mut_subcommand(of, |sub| sub.mut_arg(argument, |argument| argument.add(completer)))
    })
}

/// `command`, of which `help` is completed by commands and topics, and `man` by commands.
fn with_words(command: Command, line: &Line) -> Command {
    let about = |one: &Command| one.get_about().map(ToString::to_string).unwrap_or_default();
    let under =
        |one: &Command| one.get_subcommands().map(|sub| (sub.get_name().to_owned(), about(sub))).collect();
    let commands: Explained = under(&command);
    let words = positional(line);
    // What stands behind a command is one of its own.
    let explained = match words.split_last() {
        Some((_, before @ [_, ..])) => {
            let found = before.iter().try_fold(&command, |found, word| found.find_subcommand(word));
            found.map(under).unwrap_or_default()
        }
        _ => {
            let topics = TOPICS.map(|(name, about, _)| (name.to_owned(), about.to_owned()));
            commands.iter().cloned().chain(topics).collect()
        }
    };
    let completed = |argument: clap::Arg, all: Explained| argument.add(ArgValueCompleter::new(begun(all)));
    command
        .mut_subcommand("help", |help| help.mut_arg("words", |argument| completed(argument, explained)))
        .mut_subcommand("man", |man| man.mut_arg("command", |argument| completed(argument, commands)))
}

/// Words, and what each is about.
type Explained = Vec<(String, String)>;

/// Those of `all` that begin as what is typed.
fn begun(all: Explained) -> impl ValueCompleter {
    move |current: &OsStr| {
        let current = current.to_string_lossy();
        let begun = all.iter().filter(|(name, _)| name.starts_with(&*current));
        begun.map(|(name, about)| CompletionCandidate::new(name).help(Some(about.clone().into()))).collect()
    }
}

struct Completer {
    line: Line,
    names: Names,
    about: &'static [About],
}

impl ValueCompleter for Completer {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let Some(current) = current.to_str() else { return Vec::new() };
        let about = match self.about {
            [about] => *about,
            each => match each.get(positional(&self.line).len().saturating_sub(1)) {
                Some(about) => *about,
                None => return Vec::new(),
            },
        };
        let written = |name: String| match about {
            About::Methods => [short(&name), name.trim_start_matches('/').to_owned()],
            About::Services | About::Endpoints => [name.clone(), name],
        };
        let begun = |name| written(name).into_iter().find(|form| form.starts_with(current));
        let mut names: Vec<_> = (self.names)(&self.line, about).into_iter().filter_map(begun).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(CompletionCandidate::new).collect()
    }
}

/// `Greeter.Hello` of `/greeter.Greeter/Hello`.
fn short(method: &str) -> String {
    match method.trim_start_matches('/').split_once('/') {
        Some((service, method)) => format!("{}.{method}", service.rsplit('.').next().unwrap_or(service)),
        None => method.to_owned(),
    }
}

/// Names for `line`, by the settings that hold for it, from a runtime that goes with the answer.
fn outside(line: &[String], about: About) -> Result<Vec<String>, Failure> {
    let settings = Settings::resolve(&given(line)?)?;
    let context = context(&settings, line.iter().any(|word| word == "--insecure"))?;
    let runtime = runtime(1)?;
    let answer = runtime.block_on(known(&context, line, about));
    // Whoever is still being waited for is no longer.
    runtime.shutdown_background();
    Ok(answer)
}

/// The settings with the flags of a line that need not be whole.
fn given(line: &[String]) -> Result<Given, Failure> {
    let said = |name: &str| {
        let flag = format!("--{}", name.replace('_', "-"));
        let behind = line.iter().position(|word| *word == flag).and_then(|at| line.get(at + 1));
        let joined = || line.iter().find_map(|word| word.strip_prefix(&flag)?.strip_prefix('='));
        behind.map(String::as_str).or_else(joined).map(str::to_owned)
    };
    let mut flags = Layer::default();
    for key in &KEYS {
        if let Some(value) = said(key.name) {
            flags.set(key.name, value)?;
        }
    }
    let mut given = Given::here(flags)?;
    given.context = said("context").or(given.context);
    given.file = said("config").map(Into::into).or(given.file);
    Ok(given)
}

/// What `line` says behind its command and is no flag, of which the first is a service.
fn positional(line: &[String]) -> Vec<String> {
    let matches = Arguments::command().ignore_errors(true).try_get_matches_from(line).ok();
    let Some((_, matches)) = matches.as_ref().and_then(ArgMatches::subcommand) else { return Vec::new() };
    let said = |name| matches.try_get_raw(name).ok().flatten();
    let words = ["words", "target", "record", "name"].into_iter().find_map(said);
    words.into_iter().flatten().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// What the registry says for `line`, or the service itself of its methods; nothing where they do not say so in time.
pub(super) async fn known(context: &Context, line: &[String], about: About) -> Vec<String> {
    let service = positional(line).into_iter().next();
    let asking = async {
        let registry = context.registry();
        let found = match (about, &service) {
            (About::Services, _) => registry.list().await,
            (_, Some(service)) => registry.get(service).await,
            (_, None) => Ok(Vec::new()),
        };
        let found = found.unwrap_or_default();
        match about {
            About::Services => found.into_iter().map(|service| service.name).collect(),
            About::Methods => methods(context, service.as_deref(), found).await,
            About::Endpoints => found.into_iter().flat_map(|s| s.endpoints).map(|e| e.id).collect(),
        }
    };
    timeout(WITHIN, asking).await.unwrap_or_default()
}

/// The methods in the records of `service`; where there are none it is asked by reflection, as a call would.
async fn methods(context: &Context, service: Option<&str>, records: Vec<Service>) -> Vec<String> {
    let Ok(target) = service.unwrap_or_default().parse::<Target>();
    // A name that nobody has would be waited for.
    let is_there = matches!(target, Target::Address(_)) || records.iter().any(|r| !r.endpoints.is_empty());
    let announced: Vec<_> = records.into_iter().flat_map(|s| s.methods).map(|method| method.name).collect();
    if !announced.is_empty() || !is_there {
        return announced;
    }
    let Ok(schema) = context.caller().reflected(&target, None).await else { return announced };
    let own = schema.services().iter().filter(|service| !service.full_name().starts_with("grpc."));
    own.flat_map(ServiceDescriptor::methods)
        .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap_complete::engine;

    use super::*;

    /// What may stand where the last of `words` is.
    fn candidates(words: &[&str]) -> Vec<String> {
        let names: Names = Arc::new(|_, about| match about {
            About::Services => vec!["orders".to_owned(), "greeter".to_owned(), "greeter".to_owned()],
            About::Methods => vec!["/greeter.Greeter/Hello".to_owned(), "Debug.Stats".to_owned()],
            About::Endpoints => vec!["greeter-1".to_owned()],
        });
        let line: Line = ["micro"].iter().chain(words).map(ToString::to_string).collect();
        let mut command = with_words(with_names(Arguments::command(), &line, &names), &line);
        let words: Vec<OsString> = line.iter().map(Into::into).collect();
        let last = words.len() - 1;
        let found = engine::complete(&mut command, words, last, None).unwrap();
        found.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn each_place_takes_its_names() {
        assert_eq!(candidates(&["call", "gre"]), ["greeter"]);
        assert_eq!(candidates(&["call", "greeter", ""])[..2], ["Debug.Stats", "Greeter.Hello"]);
        assert_eq!(candidates(&["call", "greeter", "greeter.G"]), ["greeter.Greeter/Hello"]);
        assert!(!candidates(&["call", "greeter", "Greeter.Hello", ""]).contains(&"greeter".to_owned()));
        assert_eq!(candidates(&["call", "greeter", "Hello", "--endpoint", "g"]), ["greeter-1"]);
        assert_eq!(candidates(&["health", "o"]), ["orders"]);
        assert_eq!(candidates(&["dereg"]), ["deregister"]);
    }

    #[test]
    fn help_takes_commands_and_topics_and_man_takes_commands() {
        assert_eq!(candidates(&["help", "con"]), ["config", "context", "configuration"]);
        assert_eq!(candidates(&["help", "config", ""])[..2], ["show", "validate"]);
        assert!(!candidates(&["help", "nothing", "s"]).contains(&"show".to_owned()));
        assert_eq!(candidates(&["man", "con"]), ["config", "context"]);
        assert!(candidates(&["man", "call", "con"]).is_empty());
    }

    #[test]
    fn a_line_names_its_service_and_its_registry_before_it_is_whole() {
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for text in [
            "micro call greeter ",
            "micro call -H x:y greeter Greeter.H",
            "micro --registry file:/r call greeter Hello --endpoint ",
            "micro health greeter",
        ] {
            assert_eq!(positional(&line(text)).first().map(String::as_str), Some("greeter"), "{text}");
        }
        let given = given(&line("micro call --registry=etcd://h --context prod --config")).unwrap();
        assert_eq!((given.flags.get("registry"), given.context.as_deref()), (Some("etcd://h"), Some("prod")));
    }
}

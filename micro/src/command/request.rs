//! The one list of commands.

use clap::Subcommand;

use super::bench::Bench;
use super::call::Call;
use super::deregister::Deregister;
use super::describe::Describe;
use super::get::Get;
use super::handler::Command;
use super::health::Health;
use super::list::List;
use super::publish::Publish;
use super::register::Register;
use super::stats::{Stats, Top};
use super::subscribe::Subscribe;
use super::tap::Tap;
use super::watch::Watch;

/// A command and its arguments: every one there is.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Request {
    /// List every service
    #[command(
        visible_alias = "services",
        after_help = "\
Examples:
  micro list
  micro list --output json
  micro list services                    names alone, as go-micro's micro writes them
  micro list --registry file:/srv/registry"
    )]
    List(List),
    /// Show a service: versions, methods, endpoints
    #[command(after_help = "\
Examples:
  micro get greeter
  micro get greeter --output yaml
  micro get service greeter              as go-micro's micro writes it")]
    Get(Get),
    /// List, show, register and deregister services, as go-micro's micro has it below this word
    #[command(
        subcommand,
        hide = true,
        after_help = "\
Examples:
  micro registry list services           the same as micro list services
  micro registry get service greeter"
    )]
    Registry(Registered),
    /// Show what a service can be asked: its methods and messages
    #[command(after_help = "\
Examples:
  micro describe greeter
  micro describe greeter Greeter.Hello --template    with an example to fill in
  micro describe greeter greeter.HelloRequest
  micro describe 127.0.0.1:50051

The server is asked by reflection, v1 or v1alpha; --proto and --protoset say it where it does not answer.")]
    Describe(Describe),
    /// Call a method, with JSON in and out
    #[command(
        visible_alias = "query",
        after_help = "\
Examples:
  micro call greeter Greeter.Hello '{\"name\":\"John\"}'
  micro call greeter/Greeter.Hello name=John tags:='[1,2]'
  micro call greeter Greeter.Hello -d @request.json -H 'x-tenant: a' --timeout 2s
  micro call greeter Greeter.Hello --each-node          every endpoint, a row for each
  micro call greeter Greeter.Hello --endpoint greeter-1
  micro call greeter Greeter.Hello -v                   who answered, headers and trailers too
  micro call 127.0.0.1:50051 Greeter.Hello --proto greeter.proto
  tail -f names.ndjson | micro call greeter Greeter.Chat -d -

A method is named by as much as tells it from others: Hello, Greeter.Hello, greeter.Greeter/Hello.
Methods that take or give streams are called the same way: a message is a JSON document.

Exit code 64 + N says that the call ended with gRPC status N: micro help exit-codes."
    )]
    Call(Call),
    /// Call a method that answers with a stream: as call, without a limit of time
    #[command(after_help = "\
Examples:
  micro stream greeter Greeter.Many '{\"count\":3}'
  micro stream greeter Greeter.Chat -d -               a document per line, both ways")]
    Stream(Call),
    /// Call a method again and again, and measure how long answers take
    #[command(after_help = "\
Examples:
  micro bench greeter Greeter.Hello '{\"name\":\"John\"}'
  micro bench greeter Greeter.Hello name=John --concurrency 64 --duration 1m
  micro bench greeter Greeter.Hello --rate 500        calls begin on time, whatever answers take
  micro bench greeter Greeter.Hello --count 10000 --output json
  micro bench 127.0.0.1:50051 Greeter.Hello --proto greeter.proto

A call is over with its last answer. At a rate its time counts from when it was due: who waits for a
slow answer before it asks again would not see that others waited too. Ctrl-C shows what was
measured until then.

Exit code 0 says that no call failed, 64 + N that most of those that did ended with gRPC status N.")]
    Bench(Bench),
    /// Publish an event
    #[command(after_help = "\
Examples:
  micro publish orders.created '{\"id\":7}'
  micro publish orders.created @order.json --broker nats://127.0.0.1:4222
  micro publish orders.created tick --count 10")]
    Publish(Publish),
    /// Show events as they are published
    #[command(after_help = "\
Examples:
  micro subscribe 'orders.*'
  micro subscribe orders.created --count 1 --output json
  micro subscribe 'orders.>' --group billing --broker nats://127.0.0.1:4222

An event is acknowledged once it is written. Ctrl-C ends the command with exit code 0.")]
    Subscribe(Subscribe),
    /// Show what changes, a line per change
    #[command(after_help = "\
Examples:
  micro watch                            every service
  micro watch greeter --output json      one JSON document per line

An endpoint is added, changed or removed; those that are there at first are added.
An outage of the registry is waited out. Ctrl-C ends the command with exit code 0.")]
    Watch(Watch),
    /// Show requests that pass through gateways and sidecars, as they end
    #[command(after_help = "\
Examples:
  micro tap
  micro tap greeter --failed
  micro tap --slower 200ms --method Hello --count 10 --output json
  micro tap greeter --status UNAVAILABLE --status 503

Gateways and sidecars tell of their requests that were started with --operator-address 127.0.0.1:0,
or another address and --operator-token: who called what, where it went, how it ended and how long
it took; nothing of its content. Ctrl-C ends the command with exit code 0.")]
    Tap(Tap),
    /// Register an endpoint and hold it until Ctrl-C
    #[command(after_help = "\
Examples:
  micro register greeter --address 127.0.0.1:50051
  micro register greeter --address 127.0.0.1:50051 --version 1.2.0 --zone eu --metadata owner=us
  micro register greeter --address 127.0.0.1:50051 --ttl 0     for good, without holding it
  micro register @greeter.json
  micro get greeter -o json | micro register - --ttl 0 --registry file:/srv/registry")]
    Register(Register),
    /// Take endpoints out of the registry
    #[command(after_help = "\
Examples:
  micro deregister greeter --id greeter-127.0.0.1-50051
  micro deregister greeter --all
  micro deregister @greeter.json")]
    Deregister(Deregister),
    /// Ask each endpoint of a service whether it serves
    #[command(after_help = "\
Examples:
  micro health greeter
  micro health greeter --service greeter.Greeter --timeout 500ms
  micro health greeter --output json
  micro health greeter --wait 30s        until every endpoint serves: for scripts

Exit code 0 says that every endpoint serves, 3 that one does not, or that nobody has that name.")]
    Health(Health),
    /// Show what each endpoint of a service says of itself
    #[command(after_help = "\
Examples:
  micro stats greeter
  micro stats greeter --output original      as go-micro's micro writes it

Endpoints are asked for Debug.Stats, which servers of go-micro and of micro_tower::wire answer, and
others whether they serve. Exit code 3 says that one does not.")]
    Stats(Stats),
    /// Show services, endpoints, rates and latencies, live
    #[command(after_help = "\
Examples:
  micro top
  micro top greeter --interval 500ms
  micro top --count 2 --output json       a document per round, for a program

On a terminal it is a table that moves: q ends it, s sorts by the next column, p holds it still.")]
    Top(Top),
}

impl Request {
    /// What does it.
    pub fn command(&self) -> &dyn Command {
        match self {
            Self::Registry(registered) => registered.command(),
            Self::List(command) => command,
            Self::Get(command) => command,
            Self::Watch(command) => command,
            Self::Tap(command) => command,
            Self::Register(command) => command,
            Self::Deregister(command) => command,
            Self::Health(command) => command,
            Self::Describe(command) => command,
            Self::Call(command) | Self::Stream(command) => command,
            Self::Bench(command) => command,
            Self::Publish(command) => command,
            Self::Subscribe(command) => command,
            Self::Stats(command) => command,
            Self::Top(command) => command,
        }
    }

    /// Whether there is a command that is called `name`.
    pub fn has(name: &str) -> bool {
        let all = Self::augment_subcommands(clap::Command::new("micro"));
        all.find_subcommand(name).is_some()
    }

    /// Whether it may give several replies: JSON is then a document per line.
    pub fn gives_several(&self) -> bool {
        let several =
            matches!(self, Self::Call(_) | Self::Stream(_) | Self::Publish(_) | Self::Deregister(_))
                || matches!(self, Self::Registry(Registered::Deregister(_)));
        // One that is measured until a word to stop gives one, then.
        several || (self.command().is_endless() && !matches!(self, Self::Bench(_)))
    }

    /// Whether it was asked for in the words of go-micro's micro, and so is to be answered in them:
    /// `list services`, `get service NAME`, `register service JSON`, `deregister service JSON`.
    pub fn is_original(&self) -> bool {
        match self {
            Self::List(command) => command.noun.is_some(),
            Self::Get(command) => command.is_original(),
            Self::Register(command) => command.is_original(),
            Self::Deregister(command) => command.is_original(),
            Self::Registry(registered) => registered.is_original(),
            _ => false,
        }
    }
}

/// What go-micro's micro does with the registry.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Registered {
    /// List every service
    List(List),
    /// Show a service
    Get(Get),
    /// Register an endpoint
    Register(Register),
    /// Take endpoints out of the registry
    Deregister(Deregister),
}

impl Registered {
    fn command(&self) -> &dyn Command {
        match self {
            Self::List(command) => command,
            Self::Get(command) => command,
            Self::Register(command) => command,
            Self::Deregister(command) => command,
        }
    }

    /// Whether it only looks.
    pub fn only_looks(&self) -> bool {
        matches!(self, Self::List(_) | Self::Get(_))
    }

    fn is_original(&self) -> bool {
        match self {
            Self::List(command) => command.noun.is_some(),
            Self::Get(command) => command.is_original(),
            Self::Register(command) => command.is_original(),
            Self::Deregister(command) => command.is_original(),
        }
    }
}

//! The one list of commands.

use clap::Subcommand;

use super::deregister::Deregister;
use super::get::Get;
use super::handler::Command;
use super::health::Health;
use super::list::List;
use super::register::Register;
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
  micro list --registry file:/srv/registry"
    )]
    List(List),
    /// Show a service: versions, methods, endpoints
    #[command(
        visible_alias = "describe",
        after_help = "\
Examples:
  micro get greeter
  micro get greeter --output yaml"
    )]
    Get(Get),
    /// Show what changes, a line per change
    #[command(after_help = "\
Examples:
  micro watch                            every service
  micro watch greeter --output json      one JSON document per line

An endpoint is added, changed or removed; those that are there at first are added.
An outage of the registry is waited out. Ctrl-C ends the command with exit code 0.")]
    Watch(Watch),
    /// Register an endpoint and hold it until Ctrl-C
    #[command(after_help = "\
Examples:
  micro register greeter --address 127.0.0.1:50051
  micro register greeter --address 127.0.0.1:50051 --version 1.2.0 --zone eu --metadata owner=us
  micro register greeter --address 127.0.0.1:50051 --ttl 0     for good, without holding it
  micro register @greeter.json
  micro get greeter -o json | jq '.[0]' | micro register - --ttl 0 --registry file:/srv/registry")]
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

Exit code 0 says that every endpoint serves, 4 that one does not, 3 that there is no such service.")]
    Health(Health),
}

impl Request {
    /// What does it.
    pub fn command(&self) -> &dyn Command {
        match self {
            Self::List(command) => command,
            Self::Get(command) => command,
            Self::Watch(command) => command,
            Self::Register(command) => command,
            Self::Deregister(command) => command,
            Self::Health(command) => command,
        }
    }

    /// The argument that gives a record, if it has one. A face may read it from where its caller can, as the
    /// command line does with `@file`: commands themselves never open files.
    pub fn record_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Register(Register { record, .. }) | Self::Deregister(Deregister { record, .. }) => {
                Some(record)
            }
            _ => None,
        }
    }
}

//! What the command line says.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::command::Request;

/// See, register and check services.
#[derive(Debug, Parser)]
#[command(
    name = "micro",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  micro register greeter --address 127.0.0.1:50051    announce an endpoint until Ctrl-C
  micro list                                          every service
  micro health greeter --output json                  ask its endpoints, for a program
  micro watch --registry file:/srv/registry           what changes in another registry

Exit codes: 0 done; 1 another failure; 2 usage; 3 no such service or endpoint;
4 a registry or an endpoint cannot be reached or does not serve.

Environment: NO_COLOR turns colours off, CLICOLOR_FORCE=1 on; MICRO_LOG (off, error, warn,
info, debug) says how much is told on standard error: warn unless set."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) order: Order,
}

#[derive(Args, Debug)]
pub(super) struct Global {
    /// The registry: file: is this user's; file:/dir, fixed://host:port, etcd://host, consul://host
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MICRO_REGISTRY",
        hide_env_values = true,
        default_value = "file:"
    )]
    pub(super) registry: String,
    /// How answers are written
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs; a command that goes on writes a document per line
    Json,
    /// For programs; a command that goes on writes a document per answer
    Yaml,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, for one moment")]
pub(super) enum Order {
    #[command(flatten)]
    Request(Request),
    /// Write a script that completes command lines
    #[command(after_help = "\
Examples:
  micro completions bash > ~/.local/share/bash-completion/completions/micro
  micro completions zsh  > ~/.zfunc/_micro
  micro completions fish > ~/.config/fish/completions/micro.fish")]
    Completions {
        /// The shell that reads it
        shell: Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_in_order_and_every_command_has_examples() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  micro "), "{}", command.get_name());
        }
    }
}

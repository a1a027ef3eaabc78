//! What the command line says.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::bot::BotFace;
use super::completion::Completion;
use super::help::Help;
use super::manual::Manual;
use super::version::Version;
use super::web::WebFace;
use super::{config, contexts};
use crate::command::{Api, Command, Doctor, Failure, New, Request, Run, Sidecar};
use crate::settings::{Given, Layer};
use crate::show::Format;

/// See, call, register and check services.
#[derive(Debug, Parser)]
#[command(
    name = "micro",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "\
Examples:
  micro register greeter --address 127.0.0.1:50051       announce an endpoint until Ctrl-C
  micro list                                             every service
  micro call greeter Greeter.Hello '{\"name\":\"John\"}'     ask one something
  micro health greeter --output json                     ask its endpoints how they are, in JSON
  micro watch --registry file:/srv/registry              what changes in another registry

Exit codes: 0 done; 1 another failure; 2 usage; 3 no such service, endpoint or method, or one that
does not serve; 6 a registry or broker cannot be reached; 64 + N gRPC status N.
More: micro help exit-codes, environment, formatting, configuration, calling."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) order: Order,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// The registry: file: is this user's; file:/dir, fixed://host:port, etcd://host, consul://host, nats://host
    /// [env: MICRO_REGISTRY] [default: file:]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) registry: Option<String>,
    /// The broker: http:, nats://host, amqp://host [env: MICRO_BROKER] [default: http: over the registry]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) broker: Option<String>,
    /// The broker at which endpoints are called that listen there: nats://host, amqp://host; those over HTTP
    /// need none [env: MICRO_TRANSPORT] [default: http:]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) transport: Option<String>,
    /// A sidecar that everything goes through [env: MICRO_PROXY_ADDRESS]
    #[arg(long, visible_alias = "proxy_address", global = true, value_name = "ADDRESS")]
    pub(super) proxy: Option<String>,
    /// A PEM file with the authorities that servers at https:// are trusted by [env: MICRO_CA] [default: this
    /// machine's]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca: Option<String>,
    /// A PEM file with the certificate to show to servers; with --key and --ca [env: MICRO_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) cert: Option<String>,
    /// A PEM file with its key [env: MICRO_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) key: Option<String>,
    /// The name that servers' certificates have, instead of the host [env: MICRO_TLS_NAME]
    #[arg(long = "tls-name", visible_alias = "tls_name", global = true, value_name = "NAME")]
    pub(super) tls_name: Option<String>,
    /// The SPIFFE ids that servers may have, with commas between them, which are looked at instead of names: of a workload,
    /// or of a whole trust domain [env: MICRO_SPIFFE]
    #[arg(long, global = true, value_name = "IDS")]
    pub(super) spiffe: Option<String>,
    /// Takes whatever certificate a server shows: whoever stands between can read and change everything
    #[arg(long, global = true)]
    pub(super) insecure: bool,
    /// How answers are written [env: MICRO_OUTPUT] [default: table]
    #[arg(long, short, global = true, value_enum)]
    pub(super) output: Option<Format>,
    /// Only these fields of each row, in this order; dots lead into objects
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAMES")]
    pub(super) fields: Vec<String>,
    /// Whether there are colours: auto, always, never [env: MICRO_COLOR] [default: auto]
    #[arg(long, global = true, value_parser = ["auto", "always", "never"], hide_possible_values = true)]
    pub(super) color: Option<String>,
    /// The context to use [env: MICRO_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The file of settings to read [env: MICRO_CONFIG] [default: ~/.config/micro/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl Global {
    /// What settings are worked out from.
    pub(super) fn given(&self) -> Result<Given, Failure> {
        let mut flags = Layer::default();
        let output =
            self.output.and_then(|output| output.to_possible_value()).map(|v| v.get_name().to_owned());
        let each = [
            ("registry", &self.registry),
            ("broker", &self.broker),
            ("transport", &self.transport),
            ("proxy", &self.proxy),
            ("ca", &self.ca),
            ("cert", &self.cert),
            ("key", &self.key),
            ("tls_name", &self.tls_name),
            ("spiffe", &self.spiffe),
            ("output", &output),
            ("color", &self.color),
        ];
        for (name, value) in each {
            if let Some(value) = value {
                flags.set(name, value.clone())?;
            }
        }
        let mut given = Given::here(flags)?;
        given.context = self.context.clone().or(given.context);
        given.file = self.config.clone().or(given.file);
        Ok(given)
    }
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, for one moment")]
pub(super) enum Order {
    #[command(flatten)]
    Request(Request),
    /// Write a new service, which builds and runs at once
    #[command(after_help = "\
Examples:
  micro new greeter
  cd greeter && micro run
  micro new services/orders --fqdn order-book")]
    New(New),
    /// Run a service; start it again when it crashes or changes
    #[command(after_help = "\
Examples:
  micro run                              the one in this directory, built by cargo
  micro run greeter
  micro run . --watch app.py -- python3 app.py
  micro run greeter --output json        a document per line of its logs

After a crash it is started again in half a second, after the next in one, and so on up to 30 s.
A change is built while the service goes on; it is stopped by SIGTERM, and may take 35 s for that.")]
    Run(Run),
    /// Serve the API gateway until Ctrl-C
    #[command(after_help = "\
Examples:
  micro api
  micro api --address 0.0.0.0:8080 --namespace go.micro.api
  micro api --cors https://shop.example --access-log combined
  micro api --config gateway.toml          with routes in its table [api], and again when it changes
  curl http://127.0.0.1:8080/greeter/hello

SIGTERM or Ctrl-C finishes what was begun; a second one stops at once.")]
    Api(Api),
    /// Serve the sidecar until Ctrl-C: registry, calls and events for a program in any language
    #[command(after_help = "\
Examples:
  micro sidecar
  micro sidecar --server-name foo --server-address 127.0.0.1:9090
  micro sidecar --server-name foo --server-address 127.0.0.1:9090 \\
    --healthcheck-url http://127.0.0.1:9090/health
  curl 'http://127.0.0.1:8081/registry?service=foo'
  curl -d '{\"name\":\"John\"}' -H 'content-type: application/json' \\
    http://127.0.0.1:8081/greeter/say/hello
  curl -d 'done' 'http://127.0.0.1:8081/broker?topic=orders.paid'

http://127.0.0.1:8081/openapi.json says the rest.")]
    Sidecar(Sidecar),
    /// Serve the dashboard until Ctrl-C
    #[command(after_help = "\
Examples:
  micro web
  micro web --read-only
  micro web --address 0.0.0.0:8082 --token \"$(openssl rand -hex 16)\"

Web apps that are registered as go.micro.web.NAME are served below /NAME/, WebSockets included.")]
    Web(WebFace),
    /// Run the bot until Ctrl-C
    #[command(after_help = "\
Examples:
  micro bot                                     on this terminal, to try it: help, list, ping
  micro bot --inputs slack                      MICRO_SLACK_TOKEN and MICRO_SLACK_APP_TOKEN are set
  micro bot --inputs xmpp --xmpp-jid bot@example.org --xmpp-rooms ops@conference.example.org
  micro bot --inputs slack,webhook --changers slack:U123 --audit-log bot.jsonl

Everybody may look unless --readers says less; nobody may change anything unless --changers names them.")]
    Bot(BotFace),
    /// Type commands one after the other
    #[command(
        visible_alias = "shell",
        after_help = "\
Examples:
  micro cli
  echo 'list services' | micro cli

What is typed at a terminal is kept for the next time, but for lines that begin with a space, in
~/.local/state/micro/history; MICRO_HISTORY names another file, or off: micro help environment."
    )]
    Cli,
    /// Look at everything that the settings name, and say what to try where something is wrong
    #[command(after_help = "\
Examples:
  micro doctor
  micro doctor greeter --timeout 2s                  of endpoints only those of greeter
  micro doctor --registry etcd://10.0.0.1:2379
  micro doctor --output json --fields check,about,outcome,try

It looks at settings and their files, the registry and its server's clock, the broker, names of
hosts, certificates, and whether each endpoint is there, serves and says what it can be asked.
Nothing is changed. Exit code 0 says that nothing failed, 1 that something did; warnings are no
failures.")]
    Doctor(Doctor),
    /// Show the settings in force, and where they come from
    #[command(after_help = "\
Examples:
  micro config show
  micro config validate --config ./other.toml")]
    Config {
        #[command(subcommand)]
        asked: config::Asked,
    },
    /// Keep settings under a name
    #[command(
        visible_alias = "ctx",
        after_help = "\
Examples:
  micro context add prod --registry etcd://10.0.0.1:2379
  micro context use prod
  micro context -                        back to the one before
  micro context ls"
    )]
    Context(contexts::Asked),
    /// Write a script that completes command lines
    #[command(
        visible_alias = "completions",
        after_help = "\
Examples:
  micro completion fish | source         in ~/.config/fish/config.fish
  source <(micro completion bash)        in ~/.bashrc
  source <(micro completion zsh)         in ~/.zshrc

Services, methods and endpoints come from the registry that the line is for, and methods that are
not in it from the service, if they answer within half a second."
    )]
    Completion(Completion),
    /// Write the manual
    #[command(after_help = "\
Examples:
  micro man | man -l -
  micro man call | man -l -
  micro man --dir ~/.local/share/man/man1")]
    Man(Manual),
    /// Show what this program was built of: version, compiler, features, registries and brokers
    #[command(after_help = "\
Examples:
  micro version
  micro version --output json
  MICRO_COMMIT=$(git rev-parse HEAD) cargo install --path micro    a build that knows its commit")]
    Version(Version),
    /// Explain a command or a topic
    #[command(after_help = "\
Examples:
  micro help call
  micro help exit-codes")]
    Help(Help),
}

impl Order {
    /// What runs until it is stopped and is no request: the faces that serve, and `run`.
    pub(super) fn face(&self) -> Option<&dyn Command> {
        match self {
            // Web and bot come here.
            Self::Run(run) => Some(run),
            Self::Api(api) => Some(api),
            Self::Sidecar(sidecar) => Some(sidecar),
            Self::Web(web) => Some(web),
            Self::Bot(bot) => Some(bot),
            _ => None,
        }
    }
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
            assert!(
                help.contains("Examples:\n  micro ") || help.contains("Examples:\n  echo "),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn formats_have_the_names_that_settings_know() {
        let key = crate::settings::KEYS.iter().find(|key| key.name == "output").unwrap();
        let names: Vec<_> = Format::value_variants().iter().map(|f| f.to_possible_value().unwrap()).collect();
        assert_eq!(names.iter().map(|name| name.get_name()).collect::<Vec<_>>(), key.values);
    }
}

//! `bot`: runs the bot.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_core::future::BoxFuture;

use crate::bot::slack::{Api, Events, Socket};
use crate::bot::terminal::Terminal;
use crate::bot::webhook::Webhook;
use crate::bot::{Audit, Bot, Input, Rights};
use crate::command::{Command, Context, Failure, Kind, Replies, address};
use crate::duration;

/// Runs the bot until it is told to stop.
#[derive(Args, Clone, Debug)]
pub(super) struct BotFace {
    /// Where the bot listens
    #[arg(long, env = "MICRO_BOT_INPUTS", value_delimiter = ',', default_value = "terminal")]
    inputs: Vec<InputName>,
    /// What services that bring commands are called before their names
    #[arg(long, env = "MICRO_BOT_NAMESPACE", default_value = "go.micro.bot")]
    namespace: String,
    /// Who may look: slack:USER, xmpp:ann@example.org, #slack:ROOM, slack:USER#ROOM [default: everybody]
    #[arg(long, env = "MICRO_BOT_READERS", value_delimiter = ',', value_name = "RULE")]
    readers: Vec<String>,
    /// Who may call, publish, register and deregister [default: nobody]
    #[arg(long, env = "MICRO_BOT_CHANGERS", value_delimiter = ',', value_name = "RULE")]
    changers: Vec<String>,
    /// Writes a line of JSON for every message to this file
    #[arg(long, env = "MICRO_BOT_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<std::path::PathBuf>,
    /// How long a command may take
    #[arg(long, env = "MICRO_BOT_LIMIT", default_value = "60s", value_parser = duration::parse)]
    limit: Duration,
    #[command(flatten)]
    slack: SlackArguments,
    #[command(flatten)]
    xmpp: XmppArguments,
    /// The token that a webhook's callers show
    #[arg(long, env = "MICRO_BOT_WEBHOOK_TOKEN", hide_env_values = true)]
    webhook_token: Option<String>,
    /// Where the webhook listens
    #[arg(long, env = "MICRO_BOT_WEBHOOK_ADDRESS", default_value = "127.0.0.1:8084", value_parser = address)]
    webhook_address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputName {
    /// This terminal
    Terminal,
    /// Slack: with --slack-app-token by Socket Mode, with --slack-signing-secret by the Events API
    Slack,
    /// XMPP
    #[value(alias = "hipchat")]
    Xmpp,
    /// POST /webhook
    Webhook,
}

#[derive(Args, Clone, Debug)]
struct SlackArguments {
    /// The bot's token, xoxb-…
    #[arg(long, alias = "slack_token", env = "MICRO_SLACK_TOKEN", hide_env_values = true)]
    slack_token: Option<String>,
    /// The app's token, xapp-…: events then come over a socket that the bot opens
    #[arg(long, env = "MICRO_SLACK_APP_TOKEN", hide_env_values = true)]
    slack_app_token: Option<String>,
    /// The signing secret: events then come to POST /slack/events
    #[arg(
        long,
        env = "MICRO_SLACK_SIGNING_SECRET",
        hide_env_values = true,
        conflicts_with = "slack_app_token"
    )]
    slack_signing_secret: Option<String>,
    /// Where events come to
    #[arg(long, env = "MICRO_SLACK_ADDRESS", default_value = "127.0.0.1:8083", value_parser = address)]
    slack_address: SocketAddr,
    /// Slack's Web API, for a stand-in
    #[arg(long, env = "MICRO_SLACK_API", default_value = "https://slack.com/api", hide = true)]
    slack_api: String,
}

#[derive(Args, Clone, Debug)]
#[cfg_attr(
    not(feature = "xmpp"),
    allow(dead_code, reason = "a build without XMPP says so when it is asked for")
)]
struct XmppArguments {
    /// The bot's address, bot@example.org
    #[arg(long, env = "MICRO_XMPP_JID", aliases = ["hipchat-username", "hipchat_username"])]
    xmpp_jid: Option<String>,
    /// Its password
    #[arg(long, env = "MICRO_XMPP_PASSWORD", hide_env_values = true, aliases = ["hipchat-password", "hipchat_password"])]
    xmpp_password: Option<String>,
    /// The server, host:port [default: what DNS says]
    #[arg(long, env = "MICRO_XMPP_SERVER", aliases = ["hipchat-server", "hipchat_server"])]
    xmpp_server: Option<String>,
    /// Rooms to enter, ops@conference.example.org
    #[arg(long, env = "MICRO_XMPP_ROOMS", value_delimiter = ',')]
    xmpp_rooms: Vec<String>,
    /// What the bot is called in rooms [default: its address up to the @]
    #[arg(long, env = "MICRO_XMPP_NICK")]
    xmpp_nick: Option<String>,
    /// How the connection is secured: starttls, tls, or none (for a server on this machine)
    #[arg(long, env = "MICRO_XMPP_TLS", default_value = "starttls")]
    xmpp_tls: XmppTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[cfg_attr(not(feature = "xmpp"), allow(dead_code, reason = "as above"))]
enum XmppTls {
    Starttls,
    Tls,
    None,
}

impl BotFace {
    fn inputs(&self) -> Result<Vec<Box<dyn Input>>, Failure> {
        self.inputs.iter().map(|input| self.input(*input)).collect()
    }

    fn input(&self, input: InputName) -> Result<Box<dyn Input>, Failure> {
        match input {
            InputName::Terminal => {
                Ok(Box::new(Terminal::new(std::env::var("USER").unwrap_or_else(|_| "user".to_owned()))))
            }
            InputName::Slack => self.slack.input(),
            InputName::Xmpp => self.xmpp.input(),
            InputName::Webhook => {
                let token = needed(&self.webhook_token, "--webhook-token (MICRO_BOT_WEBHOOK_TOKEN)")?;
                Ok(Box::new(Webhook::new(token, self.webhook_address)))
            }
        }
    }

    fn rights(&self) -> Result<Rights, Failure> {
        let readers = self.readers.iter().map(String::as_str);
        let changers = self.changers.iter().map(String::as_str);
        Rights::new().read(readers).and_then(|rights| rights.change(changers)).map_err(usage)
    }

    async fn serve(&self, context: &Context) -> Result<(), Failure> {
        let mut bot = Bot::builder(context.clone())
            .rights(self.rights()?)
            .namespace(self.namespace.as_str())
            .limit(self.limit);
        if let Some(path) = &self.audit_log {
            let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                let what = format!("the audit log {} cannot be opened", path.display());
                Failure::new(Kind::Other, what).source(error)
            })?;
            bot = bot.audit(Audit::new(file));
        }
        let Some(bot) = bot.build(self.inputs()?) else {
            return Err(Failure::new(Kind::Usage, "no inputs specified").hint("--inputs terminal"));
        };
        bot.run().await;
        Ok(())
    }
}

impl SlackArguments {
    fn input(&self) -> Result<Box<dyn Input>, Failure> {
        let token = needed(&self.slack_token, "--slack-token (MICRO_SLACK_TOKEN)")?;
        let api = Api::at(&self.slack_api, token).map_err(|error| {
            Failure::new(Kind::Other, "this machine's certificates cannot be read").source(error)
        })?;
        if let Some(secret) = &self.slack_signing_secret {
            return Ok(Box::new(Events::new(api, secret, self.slack_address)));
        }
        let hint = "--slack-app-token (MICRO_SLACK_APP_TOKEN) or --slack-signing-secret";
        Ok(Box::new(Socket::new(api, needed(&self.slack_app_token, hint)?)))
    }
}

impl XmppArguments {
    #[cfg(feature = "xmpp")]
    fn input(&self) -> Result<Box<dyn Input>, Failure> {
        use crate::bot::xmpp::{Security, Xmpp};

        let jid = needed(&self.xmpp_jid, "--xmpp-jid (MICRO_XMPP_JID)")?;
        let password = needed(&self.xmpp_password, "--xmpp-password (MICRO_XMPP_PASSWORD)")?;
        let security = match self.xmpp_tls {
            XmppTls::Starttls => Security::StartTls,
            XmppTls::Tls => Security::DirectTls,
            XmppTls::None => Security::Plain,
        };
        let mut xmpp = Xmpp::new(jid, password).map_err(usage)?.security(security);
        if let Some(server) = &self.xmpp_server {
            xmpp = xmpp.server(server);
        }
        if let Some(nick) = &self.xmpp_nick {
            xmpp = xmpp.nick(nick);
        }
        for room in &self.xmpp_rooms {
            xmpp = xmpp.room(room).map_err(usage)?;
        }
        Ok(Box::new(xmpp))
    }

    #[cfg(not(feature = "xmpp"))]
    fn input(&self) -> Result<Box<dyn Input>, Failure> {
        Err(Failure::new(Kind::Usage, "this build knows no XMPP").hint("a build with the feature xmpp"))
    }
}

fn needed<'a>(given: &'a Option<String>, hint: &str) -> Result<&'a str, Failure> {
    given.as_deref().ok_or_else(|| Failure::new(Kind::Usage, "an input lacks a setting").hint(hint))
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Usage, error.to_string())
}

impl Command for BotFace {
    fn run<'a>(&'a self, context: &'a Context, _: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.serve(context))
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn shows_that_it_waits(&self) -> bool {
        false
    }
}

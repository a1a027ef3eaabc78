//! `web`: serves the dashboard.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use micro_tower::Server;

use crate::command::{Command, Context, Failure, Kind, Listening, Replies, Reply, address, duration};
use crate::web::{Login, Web};

/// Serves the dashboard until it is told to stop.
#[derive(Args, Clone, Debug)]
pub(super) struct WebFace {
    /// Where to listen; anywhere but on loopback takes --token or --password-hash
    #[arg(long, env = "MICRO_WEB_ADDRESS", default_value = "127.0.0.1:8082", value_parser = address)]
    address: SocketAddr,
    /// What web apps are called before their names
    #[arg(long, env = "MICRO_WEB_NAMESPACE", default_value = "go.micro.web")]
    namespace: String,
    /// Asks everybody for this token
    #[arg(long, env = "MICRO_WEB_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Asks everybody for the password with this hash by argon2, as `argon2 SALT -id -e` prints it
    #[arg(
        long,
        env = "MICRO_WEB_PASSWORD_HASH",
        hide_env_values = true,
        value_name = "HASH",
        conflicts_with = "token"
    )]
    password_hash: Option<String>,
    /// Shows everything and changes nothing
    #[arg(long, env = "MICRO_WEB_READ_ONLY")]
    read_only: bool,
    /// How long requests may take to finish after the word to stop
    #[arg(long, default_value = "10s", value_parser = duration::parse)]
    grace: Duration,
}

impl WebFace {
    fn login(&self) -> Result<Option<Login>, Failure> {
        let login = match (&self.token, &self.password_hash) {
            (Some(token), _) if token.len() < 8 => {
                return Err(Failure::new(Kind::Usage, "a token has 8 characters at least"));
            }
            (Some(token), _) => Some(Login::token(token)),
            (None, Some(hash)) => {
                let login = Login::password_hash(hash);
                Some(login.map_err(|error| Failure::new(Kind::Usage, error.to_string()))?)
            }
            (None, None) => None,
        };
        if login.is_none() && !self.address.ip().is_loopback() {
            let what = format!("{} is not on loopback, and everybody could use the dashboard", self.address);
            return Err(Failure::new(Kind::Usage, what).hint("--token (MICRO_WEB_TOKEN) or --password-hash"));
        }
        Ok(login)
    }

    async fn serve(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let mut web = Web::builder(context.clone())
            .namespace(self.namespace.as_str())
            .broker(context.broker().await?.clone())
            .read_only(self.read_only);
        if let Some(login) = self.login()? {
            web = web.login(login);
        }
        let server = Server::new().address(self.address).health(false).grace(self.grace);
        let bound = server.bind().await.map_err(|error| {
            Failure::new(Kind::Other, error.to_string())
                .source(error)
                .hint("another --address (MICRO_WEB_ADDRESS)")
        })?;
        replies.send(Reply::Listening(Listening::new("web", bound.local_address(), false))).await?;
        let (web, stopped) = (web.build(), context.clone());
        let served = bound.serve_until(web.router(), async move { stopped.stopped().await }).await;
        served.map_err(|error| Failure::new(Kind::Other, "the dashboard cannot go on").source(error))
    }
}

impl Command for WebFace {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.serve(context, replies))
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn workers(&self) -> usize {
        0
    }
}

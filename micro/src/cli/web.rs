//! `web`: serves the dashboard.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use micro_tower::Server;
use micro_tower::server::{BoundServer, ServeError};

use crate::command::{Command, Context, Failure, Kind, Listening, Replies, Reply, address};
use crate::duration;
use crate::web::{Login, Web};

/// Serves the dashboard until it is told to stop.
#[derive(Args, Clone, Debug)]
pub(super) struct WebFace {
    /// Where to listen; anywhere but on loopback takes --token or --password-hash
    #[arg(long, env = "MICRO_WEB_ADDRESS", default_value = "127.0.0.1:8082", value_parser = address)]
    address: SocketAddr,
    /// Where browsers find the pages of web apps: an origin of their own, on the dashboard's interface
    /// [default: three ports above the dashboard, or any that is free]
    #[arg(long, env = "MICRO_WEB_APPS_PORT", value_name = "PORT")]
    apps_port: Option<u16>,
    /// The URL of that behind a proxy, such as https://apps.example
    #[arg(long, env = "MICRO_WEB_APPS_URL", value_name = "URL", value_parser = origin)]
    apps_url: Option<String>,
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
    /// What gateways and sidecars elsewhere ask dashboards for that follow their requests
    #[arg(long, env = "MICRO_OPERATOR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    operator_token: Option<String>,
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

    async fn bind(&self, address: SocketAddr) -> Result<BoundServer, ServeError> {
        Server::new().address(address).health(false).grace(self.grace).bind().await
    }

    /// Listens for the pages of web apps, beside a dashboard at `main`.
    async fn bind_apps(&self, main: SocketAddr) -> Result<BoundServer, Failure> {
        let at = |port| SocketAddr::new(main.ip(), port);
        let bound = match self.apps_port {
            Some(port) => self.bind(at(port)).await,
            None if self.address.port() == 0 => self.bind(at(0)).await,
            None => match self.bind(at(main.port().saturating_add(3))).await {
                // It was not asked for by number.
                Err(_) => self.bind(at(0)).await,
                bound => bound,
            },
        };
        bound.map_err(unbound("another --apps-port (MICRO_WEB_APPS_PORT)"))
    }

    async fn serve(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let mut web = Web::builder(context.clone())
            .namespace(self.namespace.as_str())
            .broker(context.broker().await?.clone())
            .read_only(self.read_only);
        if let Some(token) = self.operator_token.as_deref().filter(|token| !token.is_empty()) {
            web = web.operator_token(token);
        }
        if let Some(login) = self.login()? {
            web = web.login(login);
        }
        let bound =
            self.bind(self.address).await.map_err(unbound("another --address (MICRO_WEB_ADDRESS)"))?;
        let apps = self.bind_apps(bound.local_address()).await?;
        let (here, there) = (bound.local_address(), apps.local_address());
        web = match &self.apps_url {
            Some(url) => web.apps_url(url),
            None => web.apps_at(there.port()),
        };
        replies.send(Reply::Listening(Listening::new("web", here, false))).await?;
        replies.send(Reply::Listening(Listening::new("apps", there, false))).await?;
        let web = web.build();
        let stopped = || {
            let context = context.clone();
            async move { context.stopped().await }
        };
        let served = tokio::try_join!(
            bound.serve_until(web.router(), stopped()),
            apps.serve_until(web.apps_router(), stopped()),
        );
        served
            .map(drop)
            .map_err(|error| Failure::new(Kind::Other, "the dashboard cannot go on").source(error))
    }
}

fn unbound(hint: &'static str) -> impl FnOnce(ServeError) -> Failure {
    move |error| Failure::new(Kind::Other, error.to_string()).source(error).hint(hint)
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

/// A scheme and a host, as a proxy has them.
fn origin(text: &str) -> Result<String, String> {
    let uri = text.parse::<http::Uri>().unwrap_or_default();
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(text.to_owned()),
        _ => Err("it is http:// or https:// and a host, as https://apps.example".to_owned()),
    }
}

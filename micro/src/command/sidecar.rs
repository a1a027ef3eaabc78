//! `sidecar`: serves the sidecar.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_core::future::BoxFuture;
use micro_discover::Address;
use micro_tower::Server;

use super::api::address;
use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::operator::Operator;
use super::reply::{Listening, Reply};
use super::spans::{close, spans};
use crate::api::{Cors, Handler};
use crate::duration;
use crate::otel::Spans;
use crate::proxy::for_many;
use crate::sidecar::{App, Check, Sidecar as Face};

/// Serves the sidecar until it is told to stop: registry, calls and events over HTTP, for a program beside it.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Sidecar {
    /// Where to listen; others than this machine need --token
    #[arg(long, env = "MICRO_SIDECAR_ADDRESS", default_value = "127.0.0.1:8081", value_parser = address)]
    pub address: SocketAddr,
    /// Listens at this unix socket instead, for programs that may open it
    #[arg(long, env = "MICRO_SIDECAR_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What a request has to bring, as authorization: Bearer TOKEN; better in the environment than in an argument
    #[arg(long, env = "MICRO_SIDECAR_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// What services are called before their names [default: go.micro.srv, or nothing]
    #[arg(long, env = "MICRO_SIDECAR_NAMESPACE")]
    pub namespace: Option<String>,
    /// How requests go to services: meta, rpc, http (or proxy)
    #[arg(long, env = "MICRO_SIDECAR_HANDLER", default_value = "meta")]
    pub handler: Handler,
    /// Pages of other hosts that may use the sidecar: origins with commas between them
    #[arg(long, env = "MICRO_SIDECAR_CORS", value_delimiter = ',')]
    pub cors: Vec<String>,
    /// The name to announce the app by
    #[arg(long, alias = "server_name", env = "MICRO_SERVER_NAME")]
    pub server_name: Option<String>,
    /// Where the app listens
    #[arg(long, alias = "server_address", env = "MICRO_SERVER_ADDRESS")]
    pub server_address: Option<Address>,
    /// The app's version
    #[arg(long, alias = "server_version", env = "MICRO_SERVER_VERSION")]
    pub server_version: Option<String>,
    /// How the app is asked whether it is well: http://host:port/path, grpc://host:port/service or tcp://host:port
    #[arg(long, alias = "healthcheck_url", env = "MICRO_SIDECAR_HEALTHCHECK_URL", value_name = "URL")]
    pub healthcheck_url: Option<Check>,
    /// How often it is asked, once it has been well: until then twice a second
    #[arg(long, env = "MICRO_SIDECAR_HEALTHCHECK_INTERVAL", default_value = "5s", value_parser = duration::parse)]
    pub healthcheck_interval: Duration,
    /// How long it may take to answer
    #[arg(long, env = "MICRO_SIDECAR_HEALTHCHECK_TIMEOUT", default_value = "2s", value_parser = duration::parse)]
    pub healthcheck_timeout: Duration,
    /// How often in a row it may fail before it is withdrawn
    #[arg(long, env = "MICRO_SIDECAR_HEALTHCHECK_THRESHOLD", default_value_t = 1)]
    pub healthcheck_threshold: u32,
    /// How long requests may take to finish after the word to stop
    #[arg(long, env = "MICRO_SIDECAR_GRACE", default_value = "30s", value_parser = duration::parse)]
    pub grace: Duration,
    /// Who may follow the requests
    #[command(flatten)]
    pub operator: Operator,
}

impl Sidecar {
    async fn face(&self, context: &Context, spans: Option<Spans>) -> Result<Face, Failure> {
        let open = self.socket.is_none() && !self.address.ip().is_loopback();
        if open && self.token.as_ref().is_none_or(String::is_empty) {
            let what = format!("a sidecar at {} can be reached by others, and needs a token", self.address);
            return Err(
                Failure::new(Kind::Usage, what).hint("MICRO_SIDECAR_TOKEN, or --address 127.0.0.1:8081")
            );
        }
        self.check_origins()?;
        let broker = context.broker().await?.clone();
        let mut face = Face::builder(context.registry().clone(), broker)
            .handler(self.handler)
            .connector(for_many(context.connector().clone()))
            .origins(self.cors.iter().cloned());
        if let Some(namespace) = &self.namespace {
            face = face.namespace(namespace);
        }
        if let Some(token) = self.token.as_ref().filter(|token| !token.is_empty()) {
            face = face.token(token);
        }
        if let Some(app) = self.app()? {
            face = face.app(app);
        }
        if let Some(spans) = spans {
            face = face.observer(spans);
        }
        Ok(face.build())
    }

    /// Some pages may be let in, but never those of everybody: they could do what the program may.
    fn check_origins(&self) -> Result<(), Failure> {
        let wrong = |what: String| Failure::new(Kind::Usage, what).hint("--cors https://shop.example");
        if self.cors.iter().any(|origin| origin.trim() == "*") {
            return Err(wrong("a sidecar is not for pages of every host".to_owned()));
        }
        let origins = Cors::new(self.cors.iter().map(String::as_str), false);
        origins.map(drop).map_err(|error| wrong(error.to_string()))
    }

    fn app(&self) -> Result<Option<App>, Failure> {
        let require = |what: &str, flag: &str| {
            Err(Failure::new(Kind::Usage, format!("Require {what}")).hint(format!("{flag}, or neither")))
        };
        let (name, address) = match (&self.server_name, &self.server_address) {
            (Some(name), Some(address)) => (name, address),
            (Some(_), None) => return require("server address", "--server-address 127.0.0.1:9090"),
            (None, Some(_)) => return require("server name", "--server-name foo"),
            // A check of nothing would say that all is well.
            (None, None) if self.healthcheck_url.is_some() => {
                return require("server name", "--server-name foo --server-address 127.0.0.1:9090");
            }
            (None, None) => return Ok(None),
        };
        let app = App::new(name, address.clone());
        let mut app = app.map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
        if let Some(version) = &self.server_version {
            app = app.version(version);
        }
        if let Some(check) = &self.healthcheck_url {
            app = app.check(check.clone());
        }
        let app = app.interval(self.healthcheck_interval, self.healthcheck_timeout);
        Ok(Some(app.threshold(self.healthcheck_threshold)))
    }

    async fn serve(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let server = Server::new().health(false).grace(self.grace);
        let server = match &self.socket {
            Some(path) => server.listen(&format!("unix:{}", path.display())),
            None => server.address(self.address),
        };
        let bound = server.bind().await.map_err(|error| {
            let another = match &self.socket {
                Some(_) => "another --socket (MICRO_SIDECAR_SOCKET)",
                None => "another --address (MICRO_SIDECAR_ADDRESS)",
            };
            Failure::new(Kind::Other, error.to_string()).source(error).hint(another)
        })?;
        let spans = spans()?;
        let face = self.face(context, spans.clone()).await?;
        let operator = self.operator.start(context, face.recorder(), "go.micro.sidecar").await?;
        let listening = match &self.socket {
            Some(_) => Listening::at("sidecar", bound.address()),
            None => Listening::new("sidecar", bound.local_address(), false),
        };
        replies.send(Reply::Listening(listening)).await?;
        let (stopped, stopping) = (context.clone(), face.clone());
        let stop = async move {
            stopped.stopped().await;
            // What stays open would hold the server up.
            stopping.stop();
        };
        let served = bound.serve_until(face.router(), stop).await;
        face.close(self.grace).await;
        operator.end().await;
        close(spans).await;
        served.map_err(|error| Failure::new(Kind::Other, "the sidecar cannot go on").source(error))
    }
}

impl Command for Sidecar {
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

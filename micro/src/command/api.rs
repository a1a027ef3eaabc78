//! `api`: serves the gateway.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use micro_tower::Server;
use micro_tower::server::ServerTls;
use tokio::time::{interval, sleep};

use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::operator::Operator;
use super::reload::{Flags, Reloaded};
use super::reply::{Listening, Reply};
use super::secured::server_tls;
use super::spans::{close, spans};
use crate::api::{AccessLog, Compressed, Cors, Gateway, Handler, LogFormat, Resolver, Rules};
use crate::duration;
use crate::otel::Spans;
use crate::proxy::for_many;

/// More threads than any machine has processors: each has a price before the first request.
const MOST_WORKERS: u64 = 1024;

/// Serves the API gateway until it is told to stop: HTTP, gRPC, gRPC-Web and WebSockets to registered services.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct Api {
    /// Where to listen
    #[arg(long = "address", env = "MICRO_API_ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub address: SocketAddr,
    /// What services are called before their names [default: go.micro.api, or nothing]
    #[arg(long, env = "MICRO_API_NAMESPACE")]
    pub namespace: Option<String>,
    /// How requests go to services: meta, api, rpc, http, web or event
    #[arg(long, env = "MICRO_API_HANDLER", default_value = "meta")]
    pub handler: Handler,
    /// What names the service of a request: micro (the path, as go-micro has it), host, path, vpath or grpc
    #[arg(long, env = "MICRO_API_RESOLVER", default_value = "micro")]
    pub resolver: Resolver,
    /// Pages of other hosts that may use the gateway: origins with commas between them, or *
    #[arg(long, env = "MICRO_API_CORS", value_delimiter = ',')]
    pub cors: Vec<String>,
    /// Lets those pages send cookies
    #[arg(long, env = "MICRO_API_CORS_CREDENTIALS")]
    pub cors_credentials: bool,
    /// How long a service may take to begin its answer [default: 30s]
    #[arg(long, env = "MICRO_API_TIMEOUT", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
    /// The files whose table `api` says what holds for which routes; the first that is there is read, and again when it
    /// changes, or one before it comes
    #[arg(skip)]
    pub files: Vec<PathBuf>,
    /// Believes x-forwarded-proto and x-forwarded-host, and the last address in x-forwarded-for: for a gateway behind another
    #[arg(long, env = "MICRO_API_TRUST_FORWARDED")]
    pub trust_forwarded: bool,
    /// Writes a line per request to standard output: combined or json
    #[arg(long, env = "MICRO_API_ACCESS_LOG")]
    pub access_log: Option<LogFormat>,
    /// Sends everything as services send it: otherwise text goes by gzip to clients that accept it
    #[arg(long, env = "MICRO_API_NO_COMPRESSION")]
    pub no_compression: bool,
    /// How many threads serve [default: one per processor]
    #[arg(long, env = "MICRO_API_WORKERS", default_value_t = 0, hide_default_value = true,
          value_parser = RangedU64ValueParser::<usize>::new().range(..=MOST_WORKERS))]
    pub workers: usize,
    /// Serves over TLS with the certificates in this PEM file; both files are read again when they change
    #[arg(long, alias = "tls_cert_file", env = "MICRO_TLS_CERT_FILE", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long, alias = "tls_key_file", env = "MICRO_TLS_KEY_FILE", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,
    /// Serves only clients with a certificate of an authority in this PEM file, which is read again when it changes
    #[arg(long, alias = "tls_client_ca_file", env = "MICRO_TLS_CLIENT_CA_FILE", requires = "tls_cert_file")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Of those clients, serves only the ones that have one of these SPIFFE ids, with commas between them: of a workload, or
    /// of a whole trust domain
    #[arg(
        long,
        alias = "tls_client_spiffe",
        env = "MICRO_TLS_CLIENT_SPIFFE",
        value_delimiter = ',',
        requires = "tls_client_ca_file",
        value_name = "IDS"
    )]
    pub tls_client_spiffe: Vec<String>,
    /// How long to go on after the word to stop, with /readyz saying 503, before connections are told
    #[arg(long, env = "MICRO_API_SHUTDOWN_DELAY", default_value = "0s", value_parser = duration::parse)]
    pub shutdown_delay: Duration,
    /// How long requests may take to finish after that
    #[arg(long, env = "MICRO_API_GRACE", default_value = "30s", value_parser = duration::parse)]
    pub grace: Duration,
    /// Who may follow the requests
    #[command(flatten)]
    pub operator: Operator,
}

/// How often what was measured is put away.
const UPKEEP: Duration = Duration::from_secs(5);

impl Api {
    /// What the command line says, and may stand above what a file says.
    fn flags(&self) -> Result<Flags, Failure> {
        let cors = Cors::new(self.cors.iter().map(String::as_str), self.cors_credentials);
        let cors = cors.map_err(|error| {
            Failure::new(Kind::Usage, error.to_string()).hint("--cors https://shop.example")
        })?;
        Ok(Flags { timeout: self.timeout, cors: (!self.cors.is_empty()).then_some(cors) })
    }

    async fn gateway(
        &self,
        context: &Context,
        rules: Rules,
        prometheus: Option<PrometheusHandle>,
        spans: Option<Spans>,
    ) -> Result<Gateway, Failure> {
        let mut gateway = Gateway::builder(context.registry().clone())
            .handler(self.handler)
            .resolver(self.resolver)
            .rules(rules)
            .broker(context.broker().await?.clone())
            .upstreams(|services| services.connector(for_many(context.connector().clone())))
            .tls(self.tls_cert_file.is_some())
            .trust_forwarded(self.trust_forwarded);
        if let Some(namespace) = &self.namespace {
            gateway = gateway.namespace(namespace);
        }
        if let Some(format) = self.access_log {
            gateway = gateway.access_log(AccessLog::new(format, io::stdout()));
        }
        if let Some(prometheus) = prometheus {
            gateway = gateway.prometheus(prometheus);
        }
        if let Some(spans) = spans {
            gateway = gateway.observer(spans);
        }
        Ok(gateway.build())
    }

    async fn serve(&self, context: &Context, replies: &Replies) -> Result<(), Failure> {
        let prometheus = recorder();
        let flags = self.flags()?;
        let mut file = Reloaded::new(self.files.clone(), flags);
        let rules = file.first().await?;
        let spans = spans()?;
        let gateway = self.gateway(context, rules, prometheus.clone(), spans.clone()).await?;
        let (stopping, delay) = (gateway.clone(), self.shutdown_delay);
        let server = Server::new().address(self.address).health(false).grace(self.grace).before_stop(
            move || async move {
                stopping.stop();
                sleep(delay).await;
                Ok(())
            },
        );
        // The system asks after clients of TCP, also those of HTTP/1: to ask by HTTP/2 as well takes a lock for each frame.
        let server = server.ping(None, Duration::ZERO);
        let tls = self.tls()?;
        let secure = tls.is_some();
        let server = match tls {
            Some(tls) => server.tls(tls),
            None => server,
        };
        let bound = server.bind().await.map_err(|error| {
            Failure::new(Kind::Other, error.to_string())
                .source(error)
                .hint("another --address (MICRO_API_ADDRESS)")
        })?;
        let operator = self.operator.start(context, gateway.recorder(), gateway.recorder().name()).await?;
        replies.send(Reply::Listening(Listening::new("api", bound.local_address(), secure))).await?;
        let stopped = context.clone();
        let stopped = async move { stopped.stopped().await };
        let serving = match self.no_compression {
            true => bound.serve_until(gateway.clone(), stopped).left_future(),
            false => bound.serve_until(Compressed::new(gateway.clone()), stopped).right_future(),
        };
        let served = tokio::select! {
            served = serving => served,
            () = upkeep(prometheus) => Ok(()),
            () = file.follow(|rules| gateway.set_rules(rules)) => Ok(()),
        };
        served.map_err(|error| Failure::new(Kind::Other, "the gateway cannot go on").source(error))?;
        gateway.drain(self.grace).await;
        operator.end().await;
        close(spans).await;
        Ok(())
    }
}

impl Api {
    /// What is shown to clients, and whom it is for.
    fn tls(&self) -> Result<Option<ServerTls>, Failure> {
        let (Some(chain), Some(key)) = (&self.tls_cert_file, &self.tls_key_file) else { return Ok(None) };
        let authorities = self.tls_client_ca_file.as_deref();
        server_tls((chain, key), authorities, &self.tls_client_spiffe).map(Some)
    }
}

impl Command for Api {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.serve(context, replies))
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn workers(&self) -> usize {
        self.workers
    }
}

/// Below how many seconds durations are counted. Buckets of several gateways add up, which quantiles do not; and to put a
/// duration into a sketch of the last minute took a thousand instructions more.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What records measurements in this process; none where another does already.
fn recorder() -> Option<PrometheusHandle> {
    let recorder = PrometheusBuilder::new().set_buckets(&SECONDS).ok()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok().map(|()| handle)
}

/// Puts measurements away, so that they do not pile up while nobody asks for them. Never ends.
async fn upkeep(prometheus: Option<PrometheusHandle>) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        if let Some(prometheus) = &prometheus {
            prometheus.run_upkeep();
        }
    }
}

/// Reads `host:port`, and `:port`, which is this machine's loopback.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let whole = text.strip_prefix(':').map(|port| format!("127.0.0.1:{port}"));
    let whole = whole.as_deref().unwrap_or(text).replace("localhost:", "127.0.0.1:");
    whole
        .parse()
        .map_err(|_| "an address is a port behind an IP address, as 127.0.0.1:8080, or :8080".to_owned())
}

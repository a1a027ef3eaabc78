//! How long a unary gRPC call over NATS takes, beside NATS's own request and reply through the same server.

use std::{
    thread,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use micro_discover::Endpoint;
use micro_tower::{
    Server,
    transport::{Connection, Connector},
};
use tokio::{runtime::Builder, sync::mpsc};
use tonic::{Request, Response, Status, service::Routes};
use tower::{BoxError, ServiceExt as _};

use crate::{
    bar::Bar,
    e2e::proto::{
        Payload,
        echo_client::EchoClient,
        echo_server::{Echo, EchoServer},
    },
    options::Options,
    report::{Report, Table},
    rotation::rotate,
    server::{NatsServer, Server as _},
    statistics::{median, paired_ratio, percentile},
    versions,
};

/// Calls of each kind in a round, one after another.
const CALLS: usize = 1_000;
/// Where NATS's own requests go.
const SUBJECT: &str = "bench.echo";
/// What is claimed: the latency of a call, in those of a bare request and reply.
const LIMIT: f64 = 1.5;

/// Measures both in rotation. The server sides are on another thread, the clients on this one.
///
/// # Errors
///
/// When a server does not start, or a call fails.
pub fn run(options: &Options, report: &mut Report) -> Result<Vec<Bar>, BoxError> {
    let (rounds, payload) = (options.rounds(5, 21), vec![7; options.payload]);
    report.say(versions::of(&["async-nats", "tonic", "h2", "tokio"]));
    let length = payload.len();
    report.say(format!("calls of {length} bytes one after another, {rounds} rounds of {CALLS}, medians"));
    let Some(broker) = NatsServer::start() else {
        report.say("skipped: no nats-server on PATH");
        return Ok(Vec::new());
    };
    let url = broker.url();
    let address = serve(url.clone())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let nats = runtime.block_on(async_nats::connect(&url))?;
    let endpoint = Endpoint::new("bench", address.parse()?);
    let mut connection: Connection =
        Connector::new().connect_timeout(Duration::from_secs(10)).broker(&*url).connect(&endpoint);
    runtime.block_on(connection.ready())?;
    let mut client = EchoClient::new(connection);
    let mut call = |kind: usize| {
        let calls = async {
            let mut nanos = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                let started = Instant::now();
                let length = if kind == 0 {
                    nats.request(SUBJECT, payload.clone().into()).await?.payload.len()
                } else {
                    client.unary(Payload { data: payload.clone() }).await?.into_inner().data.len()
                };
                nanos.push(u64::try_from(started.elapsed().as_nanos())?);
                if length != payload.len() {
                    return Err(format!("{length} bytes came back of {}", payload.len()).into());
                }
            }
            nanos.sort_unstable();
            Ok::<_, BoxError>(nanos)
        };
        runtime.block_on(calls)
    };
    // Warms up what there is to warm up.
    call(0).and_then(|_| call(1))?;
    let measured = rotate(2, rounds, call);
    let (mut table, mut medians) =
        (Table::new("latency").column("p50 us", 1).column("p99 us", 1), Vec::new());
    for (name, rounds) in ["async-nats request", "unary call over NATS"].into_iter().zip(measured) {
        let rounds = rounds.into_iter().collect::<Result<Vec<_>, _>>()?;
        let micros =
            |share| rounds.iter().map(|nanos| percentile(nanos, share) as f64 / 1e3).collect::<Vec<_>>();
        table = table.row(name, [0.5, 0.99].map(|share| median(&micros(share))));
        medians.push(micros(0.5));
    }
    report.table(table.charted("p50 us"));
    Ok(vec![Bar::at_most("transport/nats-latency", paired_ratio(&medians[1], &medians[0]), LIMIT)])
}

/// Serves both on a thread of their own, for as long as the program runs; gives the address of ours.
fn serve(url: String) -> Result<String, BoxError> {
    let (sender, mut started) = mpsc::channel(1);
    thread::spawn(move || -> Result<(), BoxError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let nats = async_nats::connect(&url).await?;
            let mut requests = nats.subscribe(SUBJECT).await?;
            nats.flush().await?;
            let bound = Server::new().listen(&url).bind().await?;
            sender.send(bound.address()).await?;
            let bare = async {
                while let Some(request) = requests.next().await {
                    let Some(reply) = request.reply else { continue };
                    nats.publish(reply, request.payload).await?;
                }
                Ok::<_, BoxError>(())
            };
            let ours =
                bound.serve_until(Routes::new(EchoServer::new(Same)).prepare(), std::future::pending());
            let (bare, ours) = tokio::join!(bare, ours);
            bare.and(ours.map_err(Into::into))
        })
    });
    started.blocking_recv().ok_or_else(|| "the server sides did not start".into())
}

/// Answers what it is asked.
#[derive(Debug)]
struct Same;

#[tonic::async_trait]
impl Echo for Same {
    async fn unary(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

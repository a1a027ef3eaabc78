//! The server of gRPC's interoperability tests: `grpc.testing.TestService` with health, reflection and load
//! reports, for the clients of any language.
//!
//! ```text
//! cargo run -p examples --bin interop -- --port 10000
//! cargo run -p examples --bin interop -- --listen nats://127.0.0.1:4222
//! ```

mod compression;
mod orca;
mod service;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use examples::{INTEROP_DESCRIPTORS, testing::test_service_server::TestServiceServer};
use micro_tower::{
    Server, deadline::ServerDeadlineLayer, metadata::ServerMetadataLayer, server::ServerTls,
    transport::SpiffeId,
};
use tonic::{codec::CompressionEncoding::Gzip, service::Routes};
use tower::ServiceBuilder;

use self::{compression::PerMessage, orca::Reports, service::Test};

/// How long the server goes on serving after it was told to stop.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Serves the interoperability tests of gRPC.
#[derive(Debug, Parser)]
struct Arguments {
    /// Listens on this port of the loopback interface; 0 is any that is free.
    #[arg(long, default_value_t = 0, conflicts_with = "address")]
    port: u16,
    /// Listens on this address.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Listens at this URL instead, such as nats://127.0.0.1:4222.
    #[arg(long, value_name = "URL", conflicts_with_all = ["port", "address"])]
    listen: Option<String>,
    /// Shows the certificate in this file, in PEM, and the one that is put there later.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serves only clients with a certificate of an authority in this file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Of those, only the ones with this SPIFFE id, or one of this trust domain. May be given several times.
    #[arg(long, value_name = "ID", requires = "client_ca")]
    spiffe_id: Vec<SpiffeId>,
    /// How long calls may take to finish once the server was told to stop, in seconds.
    #[arg(long, default_value = "10", value_parser = seconds)]
    grace: Duration,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let address = arguments.address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], arguments.port)));
    let reports = Reports::default();
    let test = TestServiceServer::new(Test::new(reports.clone())).accept_compressed(Gzip);
    let mut routes = Routes::new(PerMessage::new(test)).add_service(reports.into_server());
    routes = routes.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    let server = match &arguments.listen {
        Some(url) => Server::new().listen(url),
        None => Server::new().address(address),
    };
    let server = match arguments.tls()? {
        Some(tls) => server.tls(tls),
        None => server,
    };
    // Whoever asks after its health hears that it does not serve any more, before it stops to listen.
    let server = server.before_stop(|| async {
        tokio::time::sleep(LAST_WORDS).await;
        Ok(())
    });
    let bound = server.grace(arguments.grace).bind().await?;
    println!("listening on {}", bound.address());
    let layers = ServiceBuilder::new().layer(ServerMetadataLayer::new()).layer(ServerDeadlineLayer::new());
    bound.serve(layers.service(routes.prepare())).await?;
    Ok(())
}

impl Arguments {
    fn tls(&self) -> anyhow::Result<Option<ServerTls>> {
        let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) else { return Ok(None) };
        let mut tls = ServerTls::files(chain, key)?;
        if let Some(roots) = &self.client_ca {
            tls = tls.clients_of(&std::fs::read(roots)?)?;
        }
        if !self.spiffe_id.is_empty() {
            tls = tls.spiffe(self.spiffe_id.clone())?;
        }
        Ok(Some(tls))
    }
}

fn reflection<'a>() -> tonic_reflection::server::Builder<'a> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(INTEROP_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds within a day".to_owned()),
    }
}

//! What carries the calls of a run.

use anyhow::{bail, ensure};
use clap::ValueEnum;
use examples::broker::Broker;

/// A transport, by one flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// HTTP/2 over TCP, each replica a process.
    #[default]
    Http,
    /// Over a NATS server.
    Nats,
    /// Over RabbitMQ.
    Rabbitmq,
    /// In memory: the replicas are parts of this process.
    Memory,
}

/// A transport with what it needs.
#[derive(Debug)]
pub(crate) struct Wire {
    transport: Transport,
    url: Option<String>,
    _broker: Option<Broker>,
}

impl Wire {
    /// Uses the broker at `url`, or else starts one for this run where there is to be one.
    ///
    /// # Errors
    ///
    /// When the transport is not that broker's, or none can be started.
    pub(crate) fn new(transport: Transport, url: Option<String>) -> anyhow::Result<Self> {
        if let Some(url) = &url {
            let speaks = match transport {
                Transport::Nats => &["nats:", "tls:"][..],
                Transport::Rabbitmq => &["amqp:", "amqps:", "rabbitmq:"],
                Transport::Http | Transport::Memory => bail!("a broker is for --transport nats or rabbitmq"),
            };
            ensure!(
                speaks.iter().any(|scheme| url.starts_with(scheme)),
                "{url} is no broker for this transport, whose URLs start with {}",
                speaks[0]
            );
        }
        let broker = match (transport, &url) {
            (Transport::Nats, None) => Some(Broker::nats()?),
            (Transport::Rabbitmq, None) => Some(Broker::rabbitmq()?),
            _ => None,
        };
        let url = url.or_else(|| broker.as_ref().map(|broker| broker.url().to_owned()));
        Ok(Self { transport, url, _broker: broker })
    }

    /// Where the replica called `id` is to listen.
    pub(crate) fn url(&self, id: &str) -> String {
        match (self.transport, &self.url) {
            (Transport::Memory, _) => format!("memory://{id}"),
            (Transport::Nats | Transport::Rabbitmq, Some(url)) => url.clone(),
            _ => "http://127.0.0.1:0".to_owned(),
        }
    }

    /// Whether replicas can be processes of their own.
    pub(crate) fn reaches_processes(&self) -> bool {
        self.transport != Transport::Memory
    }
}

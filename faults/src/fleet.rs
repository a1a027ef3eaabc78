//! Nodes, the registry that knows them, and a client that calls them.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use micro_balance::State;
use micro_discover::{Endpoint, Registry, Service};
use micro_tower::{
    Client,
    client::Builder,
    transport::{Connector, HttpVersion},
};
use tokio::time::{Instant, sleep};

use crate::{
    node::{Mood, SERVICE},
    process::{Deeds, Process},
    proxy::Proxy,
    registry::Switch,
};

/// Nodes that this process lists in a registry of its own.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Every node there is, and the proxy before it.
    pub(crate) nodes: Vec<Process>,
    /// One before each node, where there are any.
    pub(crate) proxies: Vec<Proxy>,
    /// Where they are listed.
    pub(crate) registry: Switch,
}

impl Fleet {
    /// `size` nodes, called directly.
    pub(crate) async fn new(size: usize) -> anyhow::Result<Self> {
        let nodes = try_join_all((0..size).map(|_| Process::start(None, &[]))).await?;
        let fleet = Self { nodes, proxies: Vec::new(), registry: Switch::new() };
        for (number, node) in fleet.nodes.iter().enumerate() {
            fleet.list(number, node.address).await?;
        }
        Ok(fleet)
    }

    /// `size` nodes, each behind a proxy.
    pub(crate) async fn behind_proxies(size: usize) -> anyhow::Result<Self> {
        let nodes = try_join_all((0..size).map(|_| Process::start(None, &[]))).await?;
        let proxies = try_join_all(nodes.iter().map(|node| Proxy::start(node.address))).await?;
        let fleet = Self { nodes, proxies, registry: Switch::new() };
        for (number, proxy) in fleet.proxies.iter().enumerate() {
            fleet.list(number, proxy.address).await?;
        }
        Ok(fleet)
    }

    /// Lists an address under the name of a node, for good.
    pub(crate) async fn list(&self, number: usize, address: SocketAddr) -> anyhow::Result<()> {
        Ok(self.registry.announce(&record(number, address)?, Duration::ZERO).await?)
    }

    /// Takes a node from the list.
    pub(crate) async fn delist(&self, number: usize, address: SocketAddr) -> anyhow::Result<()> {
        Ok(self.registry.withdraw(&record(number, address)?).await?)
    }

    /// A client of all nodes, once it is connected to `ready` of them.
    pub(crate) async fn client(&self, ready: usize) -> anyhow::Result<Client> {
        client(Arc::new(self.registry.clone()), ready).await
    }

    /// The same with four times the patience, for machines that are busy with something else.
    pub(crate) async fn patient_client(&self, ready: usize) -> anyhow::Result<Client> {
        connected(Arc::new(self.registry.clone()), ready, 4).await
    }

    /// Tells every node.
    pub(crate) async fn mood(&mut self, mood: Mood) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.mood(mood).await?;
        }
        // It is said through a pipe: an answer would come back no sooner.
        sleep(Duration::from_millis(50)).await;
        Ok(())
    }

    /// How many requests reached nodes.
    pub(crate) fn reached(&self) -> usize {
        self.nodes.iter().map(|node| node.deeds.all()).sum()
    }

    /// How many requests were carried out more than once.
    pub(crate) fn twice(&self) -> usize {
        Deeds::twice(self.nodes.iter().map(|node| &node.deeds))
    }
}

/// What the clients of this run speak, where that is said.
static SPOKEN: OnceLock<HttpVersion> = OnceLock::new();

/// From now on clients speak `version`.
pub(crate) fn speak(version: HttpVersion) {
    let _ = SPOKEN.set(version);
}

/// A client with the defaults.
pub(crate) fn usual(registry: Arc<dyn Registry>) -> Builder {
    let spoken = SPOKEN.get().copied().unwrap_or_default();
    Client::builder(SERVICE, registry).connector(Connector::new().http_version(spoken))
}

fn record(number: usize, address: SocketAddr) -> anyhow::Result<Service> {
    let endpoint = Endpoint::new(format!("node-{number}"), address.to_string().parse()?);
    Ok(Service::new(SERVICE).endpoint(endpoint))
}

/// A client with the defaults, a second for each attempt and five for a call, once `ready` endpoints are.
pub(crate) async fn client(registry: Arc<dyn Registry>, ready: usize) -> anyhow::Result<Client> {
    connected(registry, ready, 1).await
}

async fn connected(registry: Arc<dyn Registry>, ready: usize, patience: u32) -> anyhow::Result<Client> {
    let client = usual(registry)
        .timeout(Duration::from_secs(5) * patience)
        .attempt_timeout(Duration::from_secs(1) * patience)
        .build();
    let began = Instant::now();
    while client.endpoints().iter().filter(|view| view.state == State::Ready).count() < ready {
        if began.elapsed() > Duration::from_secs(20) {
            return Err(anyhow::anyhow!("{:?}", client.endpoints())).context("too few nodes are ready");
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(client)
}

//! What this process announces: told to everyone, and to whoever asks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::sleep;

use super::BACKEND;
use super::hosts::Hosts;
use super::names::Domain;
use super::packet::{self, Asked, Heard, Packet};
use super::sockets::Sockets;
use crate::invalid::{Invalid, quoted};
use crate::merge::split;
use crate::owned::Table;
use crate::record::Service;
use crate::said::Said;

/// After so many packets in a row others get a moment to read them.
const ROW: usize = 32;
const MOMENT: Duration = Duration::from_millis(1);
/// A socket that cannot be read is not asked again at once.
const TROUBLE: Duration = Duration::from_millis(100);
/// How much is kept for a watcher that is busy; who misses more asks again.
const BACKLOG: usize = 4096;

/// Answers for what is announced here, and passes on what others say.
pub(super) struct Owner {
    /// Where our services are told.
    told: Domain,
    /// Where services may be heard of.
    pub(super) heard: Vec<Domain>,
    pub(super) table: Table,
    hosts: Hosts,
    pub(super) news: broadcast::Sender<Arc<Vec<Heard>>>,
}

/// What is to be told.
pub(super) struct News {
    said: Said,
    packets: Vec<Vec<u8>>,
}

impl Owner {
    pub(super) fn new((told, heard): (Domain, Vec<Domain>)) -> Self {
        let (table, hosts, news) = (Table::new(BACKEND), Hosts::default(), broadcast::Sender::new(BACKLOG));
        Self { told, heard, table, hosts, news }
    }

    /// What to tell of `service`, whose hosts are looked up.
    pub(super) async fn prepare(&self, service: &Service, ttl: Duration) -> Result<News, Invalid> {
        self.hosts.look_up(service).await;
        let ttl = (!ttl.is_zero()).then_some(ttl);
        let said = Said { service: service.clone(), ttl, owner: Some(self.table.owner.clone()) };
        let put = |one: Said| {
            let endpoint = &one.service.endpoints[0];
            let packet = packet::put(None, &self.told, &one, &self.hosts.of(endpoint));
            packet.ok_or_else(|| {
                let large = "it and its service are larger than 60000 bytes, which is what a packet takes";
                Invalid::new(large).at(format_args!("endpoint {}", quoted(&endpoint.id)))
            })
        };
        Ok(News { packets: singly(&said).map(put).collect::<Result<_, _>>()?, said })
    }

    /// Answers for what is announced from now on, and tells everyone.
    pub(super) async fn put(&self, sockets: &Sockets, news: News) -> io::Result<()> {
        self.table.put(&news.said.service, news.said.ttl.unwrap_or_default());
        self.publish(vec![Heard::Put(news.said)]);
        tell(sockets, news.packets).await
    }

    /// Answers for `service` no longer, whether or not anyone can be told.
    pub(super) fn forget(&self, service: &Service) {
        self.table.forget(service);
        self.publish(vec![Heard::Gone(self.farewell(service).into())]);
    }

    /// Tells everyone that it is gone.
    pub(super) async fn say_gone(&self, sockets: &Sockets, service: &Service) -> io::Result<()> {
        let said = self.farewell(service);
        let gone = |one: Said| packet::gone(&self.told, &one, &self.hosts.of(&one.service.endpoints[0]));
        tell(sockets, singly(&said).filter_map(gone).collect()).await
    }

    fn farewell(&self, service: &Service) -> Said {
        Said { service: service.clone(), ttl: None, owner: Some(self.table.owner.clone()) }
    }

    fn publish(&self, heard: Vec<Heard>) {
        // Nobody may be watching.
        let _unheard = self.news.send(Arc::new(heard));
    }

    /// Reads one of the sockets for ever.
    pub(super) async fn serve(&self, sockets: &Sockets, at: usize) {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            match sockets.all()[at].recv_from(&mut buffer).await {
                Ok((length, from)) if sockets.is_near(from) && !sockets.is_own(from) => {
                    self.take(sockets, &buffer[..length], from).await;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot read a socket of multicast DNS");
                    sleep(TROUBLE).await;
                }
            }
        }
    }

    async fn take(&self, sockets: &Sockets, bytes: &[u8], from: SocketAddr) {
        match packet::read(bytes, &self.heard) {
            None => {}
            Some(Packet::News { asked, mut heard }) => {
                // What we said ourselves is known, and may be old by now.
                heard.retain(|heard| heard.owner() != Some(&self.table.owner));
                if !asked {
                    heard.iter().for_each(|heard| self.overhear(heard));
                }
                if !heard.is_empty() {
                    self.publish(heard);
                }
            }
            Some(Packet::Questions(asked)) => {
                for (n, packet) in self.answers(&asked).into_iter().enumerate() {
                    rest(n).await;
                    if let Err(error) = sockets.answer(&packet, from, asked.is_alone()).await {
                        tracing::debug!(%error, %from, "a question about services is left unanswered");
                        return;
                    }
                }
            }
        }
    }

    /// Notes what others announce, and withdraw.
    fn overhear(&self, heard: &Heard) {
        match heard {
            Heard::Put(said) => self.table.lose(said),
            Heard::Gone(gone) => self.table.let_go(gone),
            Heard::Listed(_) => {}
        }
    }

    fn answers(&self, asked: &Asked) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        if asked.of(&self.told.services()) {
            let names = self.table.names();
            let unknown = names.iter().filter(|n| !asked.knows(&self.told.services(), &self.told.listed(n)));
            packets.extend(unknown.filter_map(|name| packet::listed(asked, &self.told, name)));
        }
        // Nobody asks for all at once.
        let said = self.table.says_of(|service| asked.about(&self.told.service(service)));
        for said in &said {
            let group = self.told.service(&said.service.name);
            let all = asked.of(&group);
            for one in singly(said) {
                let endpoint = &one.service.endpoints[0];
                let ips = self.hosts.of(endpoint);
                // Where go-micro finds no address it asks for the instance, and again at each such answer.
                let whole = !ips.is_empty() && endpoint.address.port().is_some();
                let instance = self.told.instance(&one.service.name, &endpoint.id);
                if all && !asked.knows(&group, &instance) || whole && asked.of(&instance) {
                    packets.extend(packet::put(Some(asked), &self.told, &one, &ips));
                }
            }
        }
        packets
    }
}

/// The same of each endpoint.
fn singly(said: &Said) -> impl Iterator<Item = Said> {
    split(&said.service).map(|service| Said { service, ..said.clone() })
}

async fn tell(sockets: &Sockets, packets: Vec<Vec<u8>>) -> io::Result<()> {
    for (n, packet) in packets.iter().enumerate() {
        rest(n).await;
        sockets.tell(packet).await?;
    }
    Ok(())
}

async fn rest(sent: usize) {
    if sent % ROW == ROW - 1 {
        sleep(MOMENT).await;
    }
}

//! The sockets of multicast DNS on the interfaces of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use if_addrs::{IfAddr, Ifv4Addr, get_if_addrs};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::Mutex;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// As RFC 6762 has it: a packet that came through a router has less.
const HOPS: u32 = 255;
/// Many may answer at once. The system may give less.
const BUFFER: usize = 4 << 20;

/// One socket that hears what is sent to everyone, and one per interface to ask from, where answers arrive.
///
/// Others on this machine listen on the same port, and only one of them gets what is sent to it alone: therefore
/// questions come from ports of their own, as go-micro's do.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) interfaces: Vec<Ifv4Addr>,
    all: Vec<UdpSocket>,
    group: SocketAddr,
    /// Who tells something to everyone, through one interface after the other.
    turn: Mutex<()>,
}

/// The IPv4 interface of this name or address; without, all that lead out of this machine, else those within.
pub(super) fn interfaces(chosen: Option<&str>) -> io::Result<Vec<Ifv4Addr>> {
    let all =
        get_if_addrs()?.into_iter().filter(|interface| interface.is_oper_up() || interface.is_loopback());
    let four = all.filter_map(|interface| match interface.addr {
        IfAddr::V4(address) => Some((interface.name, address)),
        IfAddr::V6(_) => None,
    });
    let (inside, outside): (Vec<_>, Vec<_>) = match chosen {
        None => four.partition(|(_, address)| address.ip.is_loopback()),
        Some(chosen) => {
            (Vec::new(), four.filter(|(name, at)| name == chosen || at.ip.to_string() == chosen).collect())
        }
    };
    let mut found: Vec<_> = if outside.is_empty() { inside } else { outside };
    found.sort_by_key(|(_, address)| address.ip);
    match found.is_empty() {
        false => Ok(found.into_iter().map(|(_, address)| address).collect()),
        true => Err(io::Error::new(io::ErrorKind::NotFound, "there is no such network interface with IPv4")),
    }
}

impl Sockets {
    pub(super) fn open(interfaces: Vec<Ifv4Addr>, port: u16) -> io::Result<Self> {
        let listener = socket(port)?;
        for interface in &interfaces {
            SockRef::from(&listener).join_multicast_v4(&GROUP, &interface.ip)?;
        }
        let mut all = vec![listener];
        for interface in &interfaces {
            let asker = socket(0)?;
            SockRef::from(&asker).set_multicast_if_v4(&interface.ip)?;
            all.push(asker);
        }
        let group = SocketAddrV4::new(GROUP, port).into();
        Ok(Self { interfaces, all, group, turn: Mutex::default() })
    }

    pub(super) fn all(&self) -> &[UdpSocket] {
        &self.all
    }

    /// Sends a question to everyone.
    pub(super) async fn ask(&self, packet: &[u8]) -> io::Result<()> {
        let mut sent = Err(io::ErrorKind::NotConnected.into());
        for asker in &self.all[1..] {
            let now = asker.send_to(packet, self.group).await.map(drop);
            sent = sent.or(now);
        }
        sent
    }

    /// Sends news to everyone.
    pub(super) async fn tell(&self, packet: &[u8]) -> io::Result<()> {
        let _mine = self.turn.lock().await;
        let mut sent = Err(io::ErrorKind::NotConnected.into());
        for interface in &self.interfaces {
            let chosen = SockRef::from(&self.all[0]).set_multicast_if_v4(&interface.ip);
            let now = match chosen {
                Ok(()) => self.all[0].send_to(packet, self.group).await.map(drop),
                Err(error) => Err(error),
            };
            sent = sent.or(now);
        }
        sent
    }

    /// Sends an answer: to who asked, or to everyone if that is who asks from the port where everyone listens.
    pub(super) async fn answer(&self, packet: &[u8], from: SocketAddr, alone: bool) -> io::Result<()> {
        if alone || from.port() != self.group.port() {
            return self.all[0].send_to(packet, from).await.map(drop);
        }
        self.tell(packet).await
    }

    /// Whether it is on one of the networks we are on: no other has a say here, nor gets an answer.
    pub(super) fn is_near(&self, from: SocketAddr) -> bool {
        let IpAddr::V4(ip) = from.ip() else { return false };
        let network = |ip: Ipv4Addr, mask: Ipv4Addr| u32::from(ip) & u32::from(mask);
        self.interfaces.iter().any(|at| network(ip, at.netmask) == network(at.ip, at.netmask))
    }

    /// Whether it is one of the sockets we ask from.
    pub(super) fn is_own(&self, from: SocketAddr) -> bool {
        let ours = self.all[1..].iter().filter_map(|asker| asker.local_addr().ok());
        ours.zip(&self.interfaces).any(|(at, on)| at.port() == from.port() && from.ip() == on.ip)
    }
}

/// A socket that may share its port with others.
fn socket(port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    if port != 0 {
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
    }
    socket.set_multicast_ttl_v4(HOPS)?;
    if let Err(error) = socket.set_recv_buffer_size(BUFFER) {
        tracing::debug!(%error, "the system keeps few packets");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    UdpSocket::from_std(socket.into())
}

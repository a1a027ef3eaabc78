//! A name server whose every answer the test decides, over UDP and TCP on one port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

pub(crate) const A: u16 = 1;
pub(crate) const SRV: u16 = 33;
const CNAME: u16 = 5;

/// What the server says to a question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) code: u8,
    pub(crate) truncated: bool,
    pub(crate) silent: bool,
    pub(crate) wrong_id: bool,
    /// The answer is to a question about another name.
    pub(crate) wrong_question: bool,
    /// It ends in the middle of its first record.
    pub(crate) junk: bool,
    /// The server asks nobody else.
    pub(crate) alone: bool,
    /// What the name is an alias of, and for how long.
    pub(crate) alias: Option<(&'static str, u32)>,
    /// Type, TTL, data.
    pub(crate) answers: Vec<(u16, u32, Vec<u8>)>,
}

type Decide = Box<dyn FnMut(&str, u16, bool) -> Reply + Send>;

#[derive(Clone)]
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    /// When each question came.
    pub(crate) asked: Arc<Mutex<Vec<Instant>>>,
    decide: Arc<Mutex<Decide>>,
}

impl NameServer {
    /// Answers as `decide` says of a name, a type, and whether it came over TCP.
    pub(crate) async fn start(decide: impl FnMut(&str, u16, bool) -> Reply + Send + 'static) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let decide: Decide = Box::new(decide);
        let server = Self {
            address: tcp.local_addr().unwrap(),
            asked: Arc::default(),
            decide: Arc::new(Mutex::new(decide)),
        };
        tokio::spawn(server.clone().datagrams(udp));
        tokio::spawn(server.clone().connections(tcp));
        server
    }

    pub(crate) fn decide(&self, decide: impl FnMut(&str, u16, bool) -> Reply + Send + 'static) {
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    async fn datagrams(self, socket: UdpSocket) {
        let mut question = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            if let Some(answer) = self.answer(&question[..length], false) {
                socket.send_to(&answer, from).await.ok();
            }
        }
    }

    async fn connections(self, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let server = self.clone();
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; length.into()];
                    stream.read_exact(&mut question).await.unwrap();
                    let Some(answer) = server.answer(&question, true) else { continue };
                    let mut framed = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
                    framed.extend(answer);
                    if stream.write_all(&framed).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    fn answer(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap().to_lowercase());
            at = end;
        }
        let end = at + 5;
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        self.asked.lock().unwrap().push(Instant::now());
        let reply = (self.decide.lock().unwrap())(&labels.join("."), kind, tcp);
        if reply.silent {
            return None;
        }
        let mut answer = question[..2].to_vec();
        if reply.wrong_id {
            answer[0] ^= 0xff;
        }
        answer.extend([
            0x81 | if reply.truncated { 2 } else { 0 },
            (if reply.alone { 0 } else { 0x80 }) | reply.code,
        ]);
        answer.extend(1_u16.to_be_bytes());
        let alias = reply.alias.map(|(target, ttl)| (CNAME, ttl, encoded(target)));
        let count = reply.answers.len() + usize::from(alias.is_some());
        answer.extend(u16::try_from(count).unwrap().to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(&question[12..end]);
        if reply.wrong_question {
            answer[13] ^= 1;
        }
        let owners = std::iter::once(vec![0xc0, 12])
            .chain(std::iter::repeat(alias.as_ref().map_or(vec![0xc0, 12], |(_, _, target)| target.clone())));
        for ((kind, ttl, data), owner) in alias.into_iter().chain(reply.answers).zip(owners) {
            answer.extend(owner);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        }
        if reply.junk {
            answer.truncate(end + 5);
        }
        Some(answer)
    }
}

/// A record for each of these hosts of 10.0.0.0/24, when A is asked for.
pub(crate) fn addresses(kind: u16, ttl: u32, hosts: &[u8]) -> Reply {
    let data = |host: &u8| (A, ttl, Ipv4Addr::new(10, 0, 0, *host).octets().to_vec());
    let answers = if kind == A { hosts.iter().map(data).collect() } else { Vec::new() };
    Reply { answers, ..Reply::default() }
}

/// An SRV record of priority, weight, port and target.
pub(crate) fn srv(priority: u16, weight: u16, port: u16, target: &str) -> (u16, u32, Vec<u8>) {
    let mut data: Vec<u8> = [priority, weight, port].into_iter().flat_map(u16::to_be_bytes).collect();
    data.extend(encoded(target));
    (SRV, 60, data)
}

/// A name as it goes over the wire.
fn encoded(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    name.split('.').flat_map(label).chain([0]).collect()
}

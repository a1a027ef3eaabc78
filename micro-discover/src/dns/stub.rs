//! Asks one name server, one question at a time: what goes over the wire is counted, and nothing is asked again unless
//! the caller does.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// The records that answer, and those that were added.
pub(super) type Records = (Vec<Record>, Vec<Record>);

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the name server did not answer in time")]
    Late,
    #[error("the name server answered {0}")]
    Refused(ResponseCode),
    #[error("the name is an alias that leads nowhere")]
    Alias,
    #[error("the name cannot be asked for")]
    Name(#[from] ProtoError),
    #[error("the name server cannot be reached")]
    Connection(#[from] std::io::Error),
}

const TIMEOUT: Duration = Duration::from_secs(2);

/// What `server` says of `domain`; none when there is no such name or no such record.
pub(super) async fn ask(
    server: SocketAddr,
    domain: &str,
    kind: RecordType,
) -> Result<Option<Records>, Failure> {
    let mut name = Name::from_ascii(domain)?;
    name.set_fqdn(true);
    let mut question = Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, kind));
    let bytes = question.to_vec()?;
    let asking = async {
        let answer = by_datagram(server, &question, &bytes).await?;
        if answer.metadata.truncation { by_stream(server, &question, &bytes).await } else { Ok(answer) }
    };
    let answer = timeout(TIMEOUT, asking).await.unwrap_or(Err(Failure::Late))?;
    match answer.metadata.response_code {
        ResponseCode::NoError => read(answer, &question.queries[0]),
        ResponseCode::NXDomain => Ok(None),
        code => Err(Failure::Refused(code)),
    }
}

async fn by_datagram(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, Failure> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is no answer to this question is somebody else's, or a lie.
        if let Some(answer) = answer_to(question, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, Failure> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    loop {
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        if let Some(answer) = answer_to(question, &answer) {
            return Ok(answer);
        }
    }
}

fn answer_to(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let fits = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    fits.then_some(answer)
}

/// The records of the name, or of what it is an alias of within this answer.
fn read(answer: Message, asked: &Query) -> Result<Option<Records>, Failure> {
    let mut names = vec![asked.name.clone()];
    // What an alias leads to holds no longer than the alias.
    let mut longest = u32::MAX;
    // An alias may stand behind what it leads to; a loop ends with the records.
    for _ in 0..answer.answers.len() {
        for record in &answer.answers {
            if let RData::CNAME(target) = &record.data
                && names.contains(&record.name)
                && !names.contains(&target.0)
            {
                names.push(target.0.clone());
                longest = longest.min(record.ttl);
            }
        }
    }
    // A server that asks others, or knows the zone that the alias leads to, has been at its end.
    let ended = answer.metadata.recursion_available
        || answer.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
    let fits = |record: &Record| record.record_type() == asked.query_type && names.contains(&record.name);
    let mut found: Vec<_> = answer.answers.into_iter().filter(fits).collect();
    found.iter_mut().for_each(|record| record.ttl = record.ttl.min(longest));
    match found.is_empty() {
        false => Ok(Some((found, answer.additionals))),
        true if names.len() > 1 && !ended => Err(Failure::Alias),
        true => Ok(None),
    }
}

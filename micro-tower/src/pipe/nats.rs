//! Pipes over NATS: a client's end is an inbox, a server's a subject; who is called and not there, the server says.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event, Message, ServerAddr, StatusCode, Subject, Subscriber, connection::State,
};
use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{Select, select},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::timeout,
};
use tower::BoxError;

use super::{
    broker::{BACKLOG, Hub, Incoming, closed},
    packet::{Packet, VERSION},
    stream::{Outlet, Pipe, Sending},
    table::Table,
};

/// The group that replicas of a service share their service's own subject in.
const GROUP: &str = "micro";
/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest wait between two attempts to connect again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A connection to a NATS server, made again whenever it is lost, and all pipes over it.
///
/// Pipe `7` of an end whose prefix is `p` listens at `p.7`, and what it sends can be answered at `p.7.N`, where `N`
/// is the number of the next chunk: there the NATS server says of a message that nobody listens where it went.
#[derive(Debug)]
pub(crate) struct Nats {
    client: Client,
    prefix: String,
    table: Arc<Table>,
    receiving: AbortHandle,
}

impl Nats {
    /// Connects as a client of others.
    pub(crate) async fn connect(url: &str) -> Result<Arc<Self>, BoxError> {
        let (client, table) = connect(url).await?;
        let prefix = client.new_inbox();
        let mut replies = client.subscribe(format!("{prefix}.>")).await?;
        Ok(Arc::new_cyclic(|nats: &Weak<Self>| {
            let nats = nats.clone();
            let receiving = tokio::spawn(async move {
                while let Some(message) = replies.next().await {
                    let Some(nats) = nats.upgrade() else { break };
                    nats.receive(message).await;
                }
            });
            Self { client, prefix, table, receiving: receiving.abort_handle() }
        }))
    }

    /// The connection itself, for what is said over it in other words.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Opens a pipe to whoever listens at `subject`. May take for ever.
    pub(crate) async fn dial(self: &Arc<Self>, subject: &str) -> Result<Pipe, BoxError> {
        if self.client.connection_state() != State::Connected {
            return Err("the NATS server cannot be reached".into());
        }
        let (opening, opened) = oneshot::channel();
        let entry = self.table.insert_opening(Some(opening));
        let open = Packet::Open { version: VERSION }.encode();
        let reply = format!("{}.{}.0", self.prefix, entry.id);
        self.client.publish_with_reply(subject.to_owned(), reply, open).await?;
        let accepted = opened.await??;
        let at = accepted.at.ok_or("the peer does not say where it listens")?;
        let outlet = self.outlet(base(&at), entry.id);
        Ok(Pipe::new(entry, Box::new(outlet)))
    }

    /// Listens at `subject.ID`, which is this server's own, and at `subject` together with others.
    pub(crate) async fn listen(url: &str, subject: &str) -> Result<Incoming, BoxError> {
        let (client, table) = connect(url).await?;
        let prefix = format!("{subject}.{:016x}", fastrand::u64(..));
        let own = client.subscribe(prefix.clone()).await?;
        let shared = client.queue_subscribe(subject.to_owned(), GROUP.to_owned()).await?;
        let replies = client.subscribe(format!("{prefix}.>")).await?;
        // What is announced from now on is listened to.
        timeout(ANSWER, client.flush()).await??;
        let (sender, pipes) = mpsc::channel(BACKLOG);
        let (close, closing) = watch::channel(false);
        let nats = Arc::new_cyclic(|nats| {
            let listening =
                Listening { nats: nats.clone(), opens: select(own, shared), replies, closing, pipes: sender };
            let receiving = tokio::spawn(listening.run()).abort_handle();
            Self { client, prefix: prefix.clone(), table, receiving }
        });
        Ok(Incoming { pipes, name: prefix, hub: Arc::new(Server { nats, close }) })
    }

    fn outlet(self: &Arc<Self>, to: &str, id: u64) -> NatsOutlet {
        NatsOutlet { nats: self.clone(), to: to.into(), reply: format!("{}.{id}.", self.prefix) }
    }

    /// Hands a message to the pipe that it is for.
    async fn receive(&self, message: Message) {
        let Some((id, number)) = place(&self.prefix, &message.subject) else { return };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return self.table.lose(id, number);
        }
        let Some(packet) = Packet::decode(message.payload) else {
            return self.table.end(id, "the peer speaks another language");
        };
        let is_reset = packet == Packet::Reset;
        if !self.table.deliver(id, packet, message.reply.as_deref())
            && !is_reset
            && let Some(from) = message.reply
        {
            // Whoever does not hear of it falls silent in time.
            let _ = self.client.publish(from, Packet::Reset.encode()).await;
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

/// What a server receives, as long as it lives.
struct Listening {
    nats: Weak<Nats>,
    opens: Select<Subscriber, Subscriber>,
    replies: Subscriber,
    closing: watch::Receiver<bool>,
    pipes: mpsc::Sender<Pipe>,
}

impl Listening {
    async fn run(mut self) {
        let mut open = true;
        loop {
            let message = tokio::select! {
                Some(message) = self.replies.next() => Ok(message),
                Some(message) = self.opens.next(), if open => Err(message),
                () = closed(&mut self.closing), if open => {
                    open = false;
                    let (own, shared) = self.opens.get_mut();
                    // Where that fails, the connection is lost, and so are they.
                    let _ = own.unsubscribe().await;
                    let _ = shared.unsubscribe().await;
                    continue;
                }
                else => break,
            };
            let Some(nats) = self.nats.upgrade() else { break };
            match message {
                Ok(message) => nats.receive(message).await,
                Err(message) => self.accept(&nats, message).await,
            }
        }
    }

    /// Opens a pipe to whoever asks for one.
    async fn accept(&self, nats: &Arc<Nats>, message: Message) {
        let Some(from) = message.reply else { return };
        let room = self.pipes.try_reserve();
        let (Some(Packet::Open { version: VERSION }), Ok(room)) = (Packet::decode(message.payload), room)
        else {
            let _ = nats.client.publish(from, Packet::Reset.encode()).await;
            return;
        };
        let entry = nats.table.insert();
        let outlet = nats.outlet(base(&from), entry.id);
        if outlet.send(Packet::Accept { pipe: entry.id }.encode(), 0).await.is_ok() {
            room.send(Pipe::new(entry, Box::new(outlet)));
        }
    }
}

/// A server at NATS.
struct Server {
    nats: Arc<Nats>,
    close: watch::Sender<bool>,
}

impl Hub for Server {
    fn close(&self) {
        self.close.send_replace(true);
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        // What is not sent by then is not sent.
        Box::pin(async { drop(timeout(ANSWER, self.nats.client.flush()).await) })
    }
}

#[derive(Debug)]
struct NatsOutlet {
    nats: Arc<Nats>,
    to: Subject,
    reply: String,
}

impl Outlet for NatsOutlet {
    fn send(&self, message: Bytes, next: u64) -> Sending {
        let (nats, to, reply) = (self.nats.clone(), self.to.clone(), format!("{}{next}", self.reply));
        Box::pin(async move { Ok(nats.client.publish_with_reply(to, reply, message).await?) })
    }
}

/// Whom a subject below `prefix` is for, and the chunk it is about.
fn place(prefix: &str, subject: &str) -> Option<(u64, u64)> {
    let below = subject.strip_prefix(prefix)?.strip_prefix('.')?;
    let (id, number) = below.split_once('.').unwrap_or((below, "0"));
    Some((id.parse().ok()?, number.parse().ok()?))
}

/// Where a pipe listens that can be answered at `reply`.
fn base(reply: &str) -> &str {
    reply.rsplit_once('.').map_or(reply, |(base, _)| base)
}

/// Connects; when the connection is lost, all pipes of the table break at once, and another is made for ever.
async fn connect(url: &str) -> Result<(Client, Arc<Table>), BoxError> {
    let servers =
        url.split(',').map(|server| server.trim().parse()).collect::<Result<Vec<ServerAddr>, _>>()?;
    let table = Arc::<Table>::default();
    let pipes = table.clone();
    let options = ConnectOptions::new()
        .connection_timeout(ANSWER)
        .ping_interval(ANSWER)
        .reconnect_delay_callback(|attempt| {
            // Spread, so that not all come back at once.
            let wait = Duration::from_millis(50).saturating_mul(1 << attempt.min(6)).min(LONGEST_WAIT);
            if attempt <= 1 { Duration::ZERO } else { wait.mul_f64(0.5 + fastrand::f64() / 2.0) }
        })
        .event_callback(move |event| {
            match event {
                Event::Disconnected | Event::Closed => pipes.end_all("the connection to NATS was lost"),
                Event::SlowConsumer(_) => pipes.end_all("NATS sends faster than this process reads"),
                Event::ServerError(error) => tracing::warn!(%error, "the NATS server refuses something"),
                _ => {}
            }
            std::future::ready(())
        });
    Ok((options.connect(servers.as_slice()).await?, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_whom_it_is_for_and_which_chunk_it_is_about() {
        assert_eq!(place("_INBOX.a", "_INBOX.a.7"), Some((7, 0)));
        assert_eq!(place("_INBOX.a", "_INBOX.a.7.12"), Some((7, 12)));
        for other in ["_INBOX.ab.7", "_INBOX.a", "_INBOX.a.x", "_INBOX.a.7.", "_INBOX.a.7.1.2"] {
            assert_eq!(place("_INBOX.a", other), None, "{other}");
        }
        assert_eq!(base("_INBOX.a.7.12"), "_INBOX.a.7");
    }
}

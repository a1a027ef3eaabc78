//! Pipes over NATS: a client's end is an inbox, a server's a subject; who is called and not there, the server says.

mod connect;
mod listening;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_nats::{Client, Message, StatusCode, Subject, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{sync::oneshot, task::AbortHandle};
use tower::BoxError;

use self::connect::{connect, renew};
use super::{
    packet::{Packet, VERSION},
    stream::{Outlet, Pipe, Sending},
    table::Table,
};

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A connection to a NATS server, made again whenever it is lost, and all pipes over it. So is its client where that ends,
/// which async-nats's does when it panics over a carriage return in a header.
///
/// Pipe `7` of an end whose prefix is `p` listens at `p.7`, and what it sends can be answered at `p.7.N`, where `N`
/// is the number of the next chunk: there the NATS server says of a message that nobody listens where it went.
#[derive(Debug)]
pub(crate) struct Nats {
    url: String,
    client: ArcSwap<Client>,
    prefix: String,
    table: Arc<Table>,
    receiving: AbortHandle,
}

impl Nats {
    /// Connects as a client of others.
    pub(crate) async fn connect(url: &str) -> Result<Arc<Self>, BoxError> {
        let table = Arc::default();
        let client = connect(url, &table).await?;
        let prefix = client.new_inbox();
        let replies = client.subscribe(below(&prefix)).await?;
        Ok(Arc::new_cyclic(|nats| {
            let receiving = tokio::spawn(receive_replies(nats.clone(), replies));
            Self::new(url, client, prefix, table, receiving.abort_handle())
        }))
    }

    fn new(url: &str, client: Client, prefix: String, table: Arc<Table>, receiving: AbortHandle) -> Self {
        Self { url: url.to_owned(), client: ArcSwap::from_pointee(client), prefix, table, receiving }
    }

    /// The connection itself, for what is said over it in other words.
    pub(crate) fn client(&self) -> Client {
        Client::clone(&self.client.load())
    }

    /// Opens a pipe to whoever listens at `subject`. May take for ever.
    pub(crate) async fn dial(self: &Arc<Self>, subject: &str) -> Result<Pipe, BoxError> {
        let client = self.client();
        if client.connection_state() != State::Connected {
            return Err("the NATS server cannot be reached".into());
        }
        let (opening, opened) = oneshot::channel();
        let entry = self.table.insert_opening(Some(opening));
        let open = Packet::Open { version: VERSION }.encode();
        let reply = format!("{}.{}.0", self.prefix, entry.id);
        client.publish_with_reply(subject.to_owned(), reply, open).await?;
        let accepted = opened.await??;
        let at = accepted.at.ok_or("the peer does not say where it listens")?;
        let outlet = self.outlet(base(&at), entry.id);
        Ok(Pipe::new(entry, Box::new(outlet)))
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
            let _ = self.client().publish(from, Packet::Reset.encode()).await;
        }
    }
}

/// Receives what a client's end is sent, as long as that lives.
async fn receive_replies(nats: Weak<Nats>, mut replies: Subscriber) {
    loop {
        while let Some(message) = replies.next().await {
            let Some(nats) = nats.upgrade() else { return };
            nats.receive(message).await;
        }
        let Some((nats, client)) = renew(&nats).await else { return };
        if let Ok(subscribed) = client.subscribe(below(&nats.prefix)).await {
            replies = subscribed;
            nats.client.store(Arc::new(client));
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.receiving.abort();
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
        let (client, to, reply) = (self.nats.client(), self.to.clone(), format!("{}{next}", self.reply));
        Box::pin(async move { Ok(client.publish_with_reply(to, reply, message).await?) })
    }
}

/// Where the pipes of an end listen.
fn below(prefix: &str) -> String {
    format!("{prefix}.>")
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

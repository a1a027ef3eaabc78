//! A server's end at NATS: it opens pipes to whoever asks.

use std::sync::{Arc, Weak};

use async_nats::{Client, Message, Subscriber};
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{Select, select},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tower::BoxError;

use super::{
    ANSWER, Nats, base, below,
    connect::{connect, renew},
};
use crate::pipe::{
    broker::{BACKLOG, Hub, Incoming, closed},
    packet::{Packet, VERSION},
    stream::{Outlet as _, Pipe},
};

/// The group that replicas of a service share their service's own subject in.
const GROUP: &str = "micro";

impl Nats {
    /// Listens at `subject.ID`, which is this server's own, and at `subject` together with others.
    pub(crate) async fn listen(url: &str, subject: &str) -> Result<Incoming, BoxError> {
        let table = Arc::default();
        let client = connect(url, &table).await?;
        let prefix = format!("{subject}.{:016x}", fastrand::u64(..));
        let (opens, replies) = subscribe(&client, subject, &prefix).await?;
        let (sender, pipes) = mpsc::channel(BACKLOG);
        let (close, closing) = watch::channel(false);
        let nats = Arc::new_cyclic(|nats| {
            let (nats, subject) = (nats.clone(), subject.to_owned());
            let listening = Listening { nats, subject, opens, replies, closing, pipes: sender };
            let receiving = tokio::spawn(listening.run()).abort_handle();
            Self::new(url, client, prefix.clone(), table, receiving)
        });
        Ok(Incoming { pipes, name: prefix, hub: Arc::new(Server { nats, close }) })
    }
}

/// What a server receives, as long as it lives.
struct Listening {
    nats: Weak<Nats>,
    subject: String,
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
                reply = self.replies.next() => match reply {
                    Some(message) => Ok(message),
                    // The client has ended, and all pipes with it.
                    None if open && self.renew().await => continue,
                    None => break,
                },
                Some(message) = self.opens.next(), if open => Err(message),
                () = closed(&mut self.closing), if open => {
                    open = false;
                    let (own, shared) = self.opens.get_mut();
                    // Where that fails, the connection is lost, and so are they.
                    let _ = own.unsubscribe().await;
                    let _ = shared.unsubscribe().await;
                    continue;
                }
            };
            let Some(nats) = self.nats.upgrade() else { break };
            match message {
                Ok(message) => nats.receive(message).await,
                Err(message) => self.accept(&nats, message).await,
            }
        }
    }

    /// Listens by another client, under the same name. False once nobody needs it.
    async fn renew(&mut self) -> bool {
        while let Some((nats, client)) = renew(&self.nats).await {
            if let Ok(subscribed) = subscribe(&client, &self.subject, &nats.prefix).await {
                (self.opens, self.replies) = subscribed;
                nats.client.store(Arc::new(client));
                return true;
            }
        }
        false
    }

    /// Opens a pipe to whoever asks for one.
    async fn accept(&self, nats: &Arc<Nats>, message: Message) {
        let Some(from) = message.reply else { return };
        let room = self.pipes.try_reserve();
        let (Some(Packet::Open { version: VERSION }), Ok(room)) = (Packet::decode(message.payload), room)
        else {
            let _ = nats.client().publish(from, Packet::Reset.encode()).await;
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
        Box::pin(async { drop(timeout(ANSWER, self.nats.client().flush()).await) })
    }
}

/// Subscribes to a server's own subject and the one it shares, and to what it is answered at.
async fn subscribe(
    client: &Client,
    subject: &str,
    prefix: &str,
) -> Result<(Select<Subscriber, Subscriber>, Subscriber), BoxError> {
    let own = client.subscribe(prefix.to_owned()).await?;
    let shared = client.queue_subscribe(subject.to_owned(), GROUP.to_owned()).await?;
    let replies = client.subscribe(below(prefix)).await?;
    // What is announced from now on is listened to.
    timeout(ANSWER, client.flush()).await??;
    Ok((select(own, shared), replies))
}

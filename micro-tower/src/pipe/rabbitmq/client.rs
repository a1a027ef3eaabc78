//! A client's end: a direct reply-to, each pipe on a channel of its own.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{FieldTable, ShortString},
    uri::AMQPUri,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};
use tower::BoxError;

use super::{ANSWER, connect, uri};
use crate::pipe::{
    packet::{Packet, VERSION},
    stream::{Outlet, Pipe, Sending},
    table::Table,
};

/// The queue whose messages RabbitMQ brings to whoever consumes it on the channel that asked.
const REPLIES: &str = "amq.rabbitmq.reply-to";

/// A client's connection to RabbitMQ, made when needed and again when lost. Each pipe has a channel of its own.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    uri: AMQPUri,
    connection: Mutex<Option<Arc<Connection>>>,
    table: Arc<Table>,
}

impl RabbitMq {
    pub(crate) fn new(url: &str) -> Result<Self, BoxError> {
        Ok(Self { uri: uri(url)?, connection: Mutex::default(), table: Arc::default() })
    }

    /// Opens a pipe to whoever consumes the queue `name`. May take for ever.
    pub(crate) async fn dial(&self, connection: &Connection, name: &str) -> Result<Pipe, BoxError> {
        let to = ShortString::try_new(name)?;
        let channel = Arc::new(connection.create_channel().await?);
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let consume = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let replies =
            channel.basic_consume(REPLIES.into(), "".into(), consume, FieldTable::default()).await?;
        let (opening, opened) = oneshot::channel();
        let entry = self.table.insert_opening(Some(opening));
        let (sent, confirms) = mpsc::unbounded_channel();
        // It ends when the outlet and all that it sends do, so that the channel is closed before its consumer is gone:
        // the other way about, RabbitMQ closes the whole connection.
        tokio::spawn(receive(channel.clone(), replies, confirms, self.table.clone(), entry.id));
        let mut outlet = ClientOutlet { channel, to, pipe: "0".into(), sent };
        outlet.send(Packet::Open { version: VERSION }.encode(), 0).await?;
        let accepted = opened.await??;
        outlet.pipe = accepted.pipe.to_string().into();
        outlet.to = accepted.at.ok_or("the peer does not say where it listens")?.into();
        Ok(Pipe::new(entry, Box::new(outlet)))
    }

    /// The connection, if it stands, or else a new one.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, BoxError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(connection.clone());
        }
        *held = None;
        Ok(held.insert(connect(&self.uri).await?).clone())
    }
}

/// The number of the chunk that a message was about, as [`Outlet::send`] gave it.
type Sent = mpsc::UnboundedSender<(u64, lapin::PublisherConfirm)>;

/// Brings what is sent to a client's pipe to it, and word of what was returned, until the pipe is gone. The pipe's
/// window bounds how many confirmations are open.
async fn receive(
    channel: Arc<Channel>,
    mut replies: Consumer,
    mut sent: mpsc::UnboundedReceiver<(u64, lapin::PublisherConfirm)>,
    table: Arc<Table>,
    id: u64,
) {
    let mut confirms = FuturesUnordered::new();
    loop {
        tokio::select! {
            reply = replies.next() => {
                let Some(Ok(reply)) = reply else { break };
                let Some(packet) = Packet::decode(Bytes::from(reply.data)) else { break };
                let from = reply.properties.reply_to().as_ref().map(ShortString::as_str);
                table.deliver(id, packet, from);
            }
            next = sent.recv() => {
                let Some((number, confirm)) = next else { break };
                confirms.push(async move { (number, confirm.await) });
            }
            Some((number, confirmed)) = confirms.next() => match confirmed {
                Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(_)) => table.lose(id, number),
                Ok(_) => {}
                Err(_) => break,
            },
        }
    }
    table.end(id, "the channel to RabbitMQ was lost");
    // Where it is lost, so is all that could be said on it.
    let _ = timeout(ANSWER, channel.close(200, "done".into())).await;
}

/// Sends from a client. Publishes on the channel that consumes the replies, as RabbitMQ wants.
#[derive(Debug)]
struct ClientOutlet {
    channel: Arc<Channel>,
    to: ShortString,
    /// The pipe's number at the server.
    pipe: ShortString,
    sent: Sent,
}

impl Outlet for ClientOutlet {
    fn send(&self, message: Bytes, next: u64) -> Sending {
        let properties =
            BasicProperties::default().with_reply_to(REPLIES.into()).with_correlation_id(self.pipe.clone());
        let (channel, to, sent) = (self.channel.clone(), self.to.clone(), self.sent.clone());
        Box::pin(async move {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let confirm = channel.basic_publish("".into(), to, options, &message, properties).await?;
            // Whoever receives it is gone only when the pipe is.
            let _ = sent.send((next, confirm));
            Ok(())
        })
    }
}

//! A server's end: a queue of its own and one that it shares, over one connection after another.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{SelectAll, select_all},
};
use lapin::{
    BasicProperties, Channel, Connection, Consumer, ErrorKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{FieldTable, ShortString},
    uri::AMQPUri,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tower::BoxError;

use super::{ANSWER, RabbitMq, connect, uri};
use crate::pipe::{
    broker::{BACKLOG, Hub, Incoming, closed},
    packet::{Packet, VERSION},
    stream::{Outlet, Pipe, Sending},
    table::Table,
};

/// How many messages a server is sent before it takes the first.
const PREFETCH: u16 = 256;
/// Waits between attempts to connect again.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

impl RabbitMq {
    /// Listens at the queue `name.ID`, which is this server's own, and at `name` together with others.
    pub(crate) async fn listen(url: &str, name: &str) -> Result<Incoming, BoxError> {
        let uri = uri(url)?;
        let own = format!("{name}.{:016x}", fastrand::u64(..));
        // Both are made into queues, whose names the client takes for granted.
        ShortString::try_new(own.as_str())?;
        let (sender, pipes) = mpsc::channel(BACKLOG);
        let (close, closing) = watch::channel(false);
        let mut server = Listening {
            uri,
            shared: name.to_owned(),
            own: own.clone(),
            table: Arc::default(),
            pipes: sender,
            closing,
        };
        let current = timeout(ANSWER, server.begin()).await??;
        let task = tokio::spawn(async move { server.run(current).await }).abort_handle();
        Ok(Incoming { pipes, name: own, hub: Arc::new(Server { close, _task: Task(task) }) })
    }
}

/// A task that ends with this.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends from a server, to a direct reply-to.
#[derive(Debug)]
struct ServerOutlet {
    channel: Weak<Channel>,
    to: ShortString,
    own: ShortString,
}

impl Outlet for ServerOutlet {
    fn send(&self, message: Bytes, _: u64) -> Sending {
        let properties = BasicProperties::default().with_reply_to(self.own.clone());
        let (channel, to) = (self.channel.upgrade(), self.to.clone());
        Box::pin(async move {
            let channel = channel.ok_or("the channel to RabbitMQ was lost")?;
            channel
                .basic_publish("".into(), to, BasicPublishOptions::default(), &message, properties)
                .await?;
            Ok(())
        })
    }
}

/// A server at RabbitMQ.
struct Server {
    close: watch::Sender<bool>,
    _task: Task,
}

impl Hub for Server {
    fn close(&self) {
        self.close.send_replace(true);
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        // A message is written to the socket when its publication has ended, and that is waited for.
        Box::pin(std::future::ready(()))
    }
}

/// What a server receives, over one connection after another.
struct Listening {
    uri: AMQPUri,
    shared: String,
    own: String,
    table: Arc<Table>,
    pipes: mpsc::Sender<Pipe>,
    closing: watch::Receiver<bool>,
}

/// A connection, as long as it stands.
struct Current {
    channel: Arc<Channel>,
    deliveries: SelectAll<Consumer>,
    shared: ShortString,
    _connection: Arc<Connection>,
}

impl Listening {
    async fn run(&mut self, mut current: Current) {
        loop {
            self.receive(&mut current).await;
            self.table.end_all("the connection to RabbitMQ was lost");
            drop(current);
            let mut wait = WAITS[0];
            current = loop {
                // Spread, so that not all come back at once.
                sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                wait = (wait * 2).min(WAITS[1]);
                match timeout(ANSWER, self.consume()).await {
                    Ok(Ok(current)) => break current,
                    Ok(Err(error)) => tracing::debug!(error, "RabbitMQ cannot be reached; trying again"),
                    Err(_) => tracing::debug!("RabbitMQ does not answer; trying again"),
                }
            };
        }
    }

    /// Begins to consume, and again where the shared queue went with the last of its other servers just after it had been
    /// declared: one comes as another goes.
    async fn begin(&self) -> Result<Current, BoxError> {
        loop {
            match self.consume().await {
                Err(error) if is_missing(&error) => sleep(WAITS[0]).await,
                begun => return begun,
            }
        }
    }

    /// Connects, declares the queues and begins to consume them.
    async fn consume(&self) -> Result<Current, BoxError> {
        let connection = connect(&self.uri).await?;
        let channel = Arc::new(connection.create_channel().await?);
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let shared = QueueDeclareOptions { auto_delete: true, ..Default::default() };
        let mut consumers = Vec::new();
        let closing = *self.closing.borrow();
        for (name, options) in
            [(&self.own, own), (&self.shared, shared)].into_iter().take(if closing { 1 } else { 2 })
        {
            let name = ShortString::from(name.as_str());
            channel.queue_declare(name.clone(), options, FieldTable::default()).await?;
            let consume = BasicConsumeOptions::default();
            consumers.push(channel.basic_consume(name.clone(), name, consume, FieldTable::default()).await?);
        }
        let shared = self.shared.as_str().into();
        Ok(Current { channel, deliveries: select_all(consumers), shared, _connection: connection })
    }

    /// Receives until the connection is lost.
    async fn receive(&mut self, current: &mut Current) {
        let mut open = !*self.closing.borrow();
        loop {
            let delivery = tokio::select! {
                delivery = current.deliveries.next() => delivery,
                () = closed(&mut self.closing), if open => {
                    open = false;
                    let cancel = current.channel.basic_cancel(current.shared.clone(), BasicCancelOptions::default());
                    // Where that fails, the connection is lost, and so is the consumer.
                    let _ = cancel.await;
                    continue;
                }
            };
            let Some(Ok(delivery)) = delivery else { return };
            self.take(current, delivery).await;
            if !current.channel.status().connected() {
                return;
            }
        }
    }

    /// Hands a message to the pipe that it is for, or opens one. It is acknowledged first: whatever becomes of it,
    /// nobody else is to get it.
    async fn take(&self, current: &Current, delivery: Delivery) {
        if delivery.acker.ack(BasicAckOptions::default()).await.is_err() {
            return;
        }
        let properties = &delivery.properties;
        let Some(from) = properties.reply_to().clone() else { return };
        let id = properties.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok()).unwrap_or(0);
        let outlet = ServerOutlet {
            channel: Arc::downgrade(&current.channel),
            to: from,
            own: self.own.as_str().into(),
        };
        match Packet::decode(Bytes::from(delivery.data)) {
            Some(Packet::Open { version: VERSION }) if !*self.closing.borrow() => {
                let Ok(room) = self.pipes.try_reserve() else { return refuse(&outlet).await };
                let entry = self.table.insert();
                if outlet.send(Packet::Accept { pipe: entry.id }.encode(), 0).await.is_ok() {
                    room.send(Pipe::new(entry, Box::new(outlet)));
                }
            }
            Some(packet) => {
                let is_reset = packet == Packet::Reset;
                if !self.table.deliver(id, packet, None) && !is_reset {
                    refuse(&outlet).await;
                }
            }
            None => self.table.end(id, "the peer speaks another language"),
        }
    }
}

/// Whether RabbitMQ said that there is no such queue.
fn is_missing(error: &BoxError) -> bool {
    let kind = error.downcast_ref::<lapin::Error>().map(lapin::Error::kind);
    matches!(kind, Some(ErrorKind::ProtocolError(fault)) if matches!(fault.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
}

/// Says that there is no such pipe. Whoever does not hear of it falls silent in time.
async fn refuse(outlet: &ServerOutlet) {
    let _ = outlet.send(Packet::Reset.encode(), 0).await;
}

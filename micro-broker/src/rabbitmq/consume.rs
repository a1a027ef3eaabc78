//! Consumes one queue, and again after every lost connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::deadline;
use crate::error::Error;
use crate::rabbitmq::ANSWER;
use crate::rabbitmq::held::{Held, REQUEUE};
use crate::rabbitmq::link::Link;
use crate::rabbitmq::topology::Queue;
use crate::rabbitmq::wire::Reader;
use crate::subscribe::Subscribe;
use crate::subscription::{Incoming, Report};

/// How many events may wait out a back-off beside those in hand. They stay unacknowledged meanwhile, and must not hold
/// up the others.
const WAITING: usize = 32;

/// A connection that lasts for so long was worth it: the next is made at once.
const STEADY: Duration = Duration::from_secs(5);

/// One subscriber of a queue.
#[derive(Debug)]
pub(super) struct Consuming {
    link: Arc<Link>,
    queue: Queue,
    reader: Reader,
    prefetch: u16,
    // `None` while the connection is lost.
    current: Option<(Arc<Channel>, Consumer)>,
    /// When it was last restored, and how often in a row that was soon lost.
    since: Instant,
    attempts: u32,
    /// Events tried again within this process, because the queue does not count. The prefetch bounds them.
    retries: mpsc::UnboundedReceiver<Incoming>,
    again: mpsc::UnboundedSender<Incoming>,
    report: watch::Sender<Report>,
}

impl Consuming {
    pub(super) fn new(
        link: Arc<Link>,
        queue: Queue,
        subscribe: &Subscribe,
        report: watch::Sender<Report>,
    ) -> Self {
        let (again, retries) = mpsc::unbounded_channel();
        let prefetch = u16::try_from(subscribe.in_flight.saturating_add(WAITING)).unwrap_or(u16::MAX);
        let reader = Reader::new(&subscribe.topic, queue.counts());
        let (since, attempts) = (Instant::now(), 0);
        Self { link, queue, reader, prefetch, current: None, since, attempts, retries, again, report }
    }

    /// Declares what is needed and begins to consume.
    pub(super) async fn begin(&mut self, within: Duration) -> Result<(), Error> {
        let deadline = deadline::after(within);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let connection = self.link.connection(left).await?;
            let error = match timeout(ANSWER, self.consume(connection)).await {
                Ok(Ok(Ok(current))) => {
                    self.current = Some(current);
                    return Ok(());
                }
                Ok(Ok(Err(error))) if error.is_amqp_soft_error() => {
                    return Err(Error::invalid(
                        super::BACKEND,
                        format!("queue {:?}: {error}", self.queue.name),
                    ));
                }
                Ok(Ok(Err(error))) => self.link.unavailable(error),
                Ok(Err(gone)) => self.link.unavailable(gone),
                Err(late) => self.link.unavailable(late),
            };
            if Instant::now() >= deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Consumes on a channel of its own, on a task of its own: a consumer half made and then forgotten would take events
    /// and never answer.
    fn consume(
        &self,
        connection: Arc<Connection>,
    ) -> oneshot::Receiver<lapin::Result<(Arc<Channel>, Consumer)>> {
        let (made, answer) = oneshot::channel();
        let (queue, prefetch) = (self.queue.clone(), self.prefetch);
        tokio::spawn(async move {
            let current = consume(&connection, &queue, prefetch).await;
            if let Err(Ok((channel, _))) = made.send(current) {
                // Nobody waits any more.
                let _ = channel.close(200, "given up".into()).await;
            }
        });
        answer
    }

    pub(super) fn stream(self) -> impl Stream<Item = Incoming> + Send {
        // Boxed, as it is moved for every event.
        stream::unfold(Box::new(self), |mut this| async move {
            this.next().await.map(|incoming| (incoming, this))
        })
    }

    async fn next(&mut self) -> Option<Incoming> {
        let link = self.link.clone();
        loop {
            let Some((channel, consumer)) = &mut self.current else {
                tokio::select! {
                    () = link.closed() => return None,
                    () = self.restore() => continue,
                }
            };
            // What is there already needs none of the rest, which costs more than it does.
            if let Ok(retry) = self.retries.try_recv() {
                return Some(retry);
            }
            let arrived = match consumer.next().now_or_never() {
                Some(arrived) => arrived,
                None => tokio::select! {
                    biased;
                    () = link.closed() => return None,
                    Some(retry) = self.retries.recv() => return Some(retry),
                    arrived = consumer.next() => arrived,
                },
            };
            match arrived {
                Some(Ok(delivery)) => {
                    let (event, acker) = self.reader.read(delivery);
                    let again = (!self.queue.counts()).then(|| self.again.clone());
                    return Some((event, Arc::new(Held::new(channel.clone(), acker, again))));
                }
                // The server ended this consumer and nothing else: the queue was deleted.
                None if channel.status().connected() && self.queue.lasts => return None,
                None => self.lost("the server ended the consumer"),
                Some(Err(error)) => self.lost(&error.to_string()),
            }
        }
    }

    fn lost(&mut self, trouble: &str) {
        self.current = None;
        if self.since.elapsed() > STEADY {
            self.attempts = 0;
        }
        // What waits for another try belongs to the lost connection: the server delivers it again.
        while self.retries.try_recv().is_ok() {}
        tracing::debug!(queue = self.queue.name, trouble, "subscription lost; it will be restored");
        self.report.send_modify(|report| {
            report.connected = false;
            report.trouble = Some(trouble.to_owned());
        });
    }

    /// Tries until it consumes again.
    async fn restore(&mut self) {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            if self.attempts > 0 {
                tokio::time::sleep(backoff.wait(self.attempts, fastrand::f64())).await;
            }
            self.attempts = self.attempts.saturating_add(1);
            match self.begin(ANSWER).await {
                Ok(()) => break,
                Err(error) => self.report.send_modify(|report| report.trouble = Some(error.to_string())),
            }
        }
        self.since = Instant::now();
        self.report.send_modify(|report| {
            report.connected = true;
            report.restored += 1;
            report.trouble = None;
        });
    }
}

async fn consume(
    connection: &Connection,
    queue: &Queue,
    prefetch: u16,
) -> lapin::Result<(Arc<Channel>, Consumer)> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    queue.declare(&channel).await?;
    let (name, options) = (queue.name.as_str().into(), BasicConsumeOptions::default());
    let consumer = channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
    Ok((Arc::new(channel), consumer))
}

impl Drop for Consuming {
    fn drop(&mut self) {
        let Some((channel, mut consumer)) = self.current.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (queue, lasts) = (self.queue.name.clone(), self.queue.lasts);
        // What arrived and was not yielded goes back at once; handlers still acknowledge through the channel.
        runtime.spawn(timeout(ANSWER, async move {
            let _ = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await;
            while let Some(Ok(unseen)) = consumer.next().await {
                let _ = unseen.acker.nack(REQUEUE).await;
            }
            if !lasts {
                let _ = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
            }
        }));
    }
}

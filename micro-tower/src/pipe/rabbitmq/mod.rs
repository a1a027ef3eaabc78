//! Pipes over RabbitMQ: a client's end is a direct reply-to, a server's a queue; who is called and not there, the
//! broker returns.

mod client;
mod server;

use std::{sync::Arc, time::Duration};

use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use micro_broker::connect_rabbitmq;
use tokio::time::timeout;
use tower::BoxError;

pub(crate) use self::client::RabbitMq;

/// Seconds between heartbeats: a connection that is silent for twice as long is given up.
const HEARTBEAT: u16 = 5;
/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

fn uri(url: &str) -> Result<AMQPUri, BoxError> {
    let url = url.replacen("rabbitmq://", "amqp://", 1);
    let mut uri: AMQPUri =
        url.parse().map_err(|fault| format!("the URL of RabbitMQ cannot be read: {fault}"))?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    Ok(uri)
}

async fn connect(uri: &AMQPUri) -> Result<Arc<Connection>, BoxError> {
    let properties = ConnectionProperties::default().with_connection_name("micro".into());
    Ok(Arc::new(timeout(ANSWER, connect_rabbitmq(uri.clone(), properties)).await??))
}

//! The client of one end, and another where it ends, as async-nats's does when it panics over a carriage return in a header.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::time::sleep;
use tower::BoxError;

use super::{ANSWER, Nats};
use crate::pipe::table::Table;

/// The longest wait between two attempts to connect again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The wait before there is a client again where one has ended: whoever ends one after another is not to keep us busy.
const PAUSE: Duration = Duration::from_millis(100);

/// Connects; when the connection is lost, all pipes of the table break at once, and another is made for ever.
pub(super) async fn connect(url: &str, table: &Arc<Table>) -> Result<Client, BoxError> {
    let servers =
        url.split(',').map(|server| server.trim().parse()).collect::<Result<Vec<ServerAddr>, _>>()?;
    let pipes = Ending(table.clone());
    let options = ConnectOptions::new()
        .connection_timeout(ANSWER)
        .ping_interval(ANSWER)
        .reconnect_delay_callback(|attempt| {
            // Spread, so that not all come back at once.
            let wait = Duration::from_millis(50).saturating_mul(1 << attempt.min(6)).min(LONGEST_WAIT);
            if attempt <= 1 { Duration::ZERO } else { wait.mul_f64(0.5 + fastrand::f64() / 2.0) }
        })
        .event_callback(move |event| {
            let Ending(pipes) = &pipes;
            match event {
                Event::Disconnected | Event::Closed => pipes.end_all("the connection to NATS was lost"),
                Event::SlowConsumer(_) => pipes.end_all("NATS sends faster than this process reads"),
                Event::ServerError(error) => tracing::warn!(%error, "the NATS server refuses something"),
                _ => {}
            }
            std::future::ready(())
        });
    Ok(options.connect(servers.as_slice()).await?)
}

/// Breaks all pipes when the client they go by ends, which drops this.
struct Ending(Arc<Table>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end_all("the connection to NATS was lost");
    }
}

/// Another client for an end whose client has ended, to be stored once it is subscribed. `None` once nobody needs it.
pub(super) async fn renew(nats: &Weak<Nats>) -> Option<(Arc<Nats>, Client)> {
    loop {
        sleep(PAUSE.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        let (url, table) = {
            let nats = nats.upgrade()?;
            (nats.url.clone(), nats.table.clone())
        };
        match connect(&url, &table).await {
            Ok(client) => return Some((nats.upgrade()?, client)),
            Err(error) => tracing::debug!(%error, "no other client for NATS yet"),
        }
    }
}

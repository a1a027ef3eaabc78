//! go-micro's clients, served over NATS as its own transport does.

use std::fmt;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use micro_discover::{Endpoint, Invalid};
use tokio::sync::watch;
use tonic::body::Body;
use tower::{BoxError, ServiceBuilder};
use tower_service::Service;

use crate::{
    deadline::ServerDeadlineLayer,
    gomicro::{ask, nats},
    metadata::ServerMetadataLayer,
};

/// An inbox at a NATS server, where go-micro's clients call.
///
/// Announce [`endpoint`](Self::endpoint) and [`serve`](Self::serve) a [`Router`](super::Router). Our own services talk
/// better over [`Server::listen`](crate::Server::listen), which streams with flow control and notices when a peer is
/// gone; go-micro's transport has neither, so a client that has been silent for a minute is forgotten.
#[must_use = "an inbox does nothing until it is served"]
pub struct NatsInbox {
    client: Client,
    subject: String,
    inbox: Subscriber,
}

impl NatsInbox {
    /// Gets an inbox at the NATS server of this client.
    ///
    /// # Errors
    ///
    /// The server takes no subscription.
    pub async fn open(client: Client) -> Result<Self, BoxError> {
        let subject = client.new_inbox();
        let inbox = client.subscribe(subject.clone()).await?;
        // Whoever hears of the inbox may call at once.
        client.flush().await?;
        Ok(Self { client, subject, inbox })
    }

    /// What is called.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What to announce, in go-micro's words.
    ///
    /// # Errors
    ///
    /// `id` cannot be announced.
    pub fn endpoint(&self, id: impl Into<String>) -> Result<Endpoint, Invalid> {
        let address = format!("nats://{}", self.subject).parse()?;
        Ok(ask::labelled_for_nats(Endpoint::new(id, address)))
    }

    /// Serves `service` until `stop` ends and what was begun is answered. Deadline and metadata of each request hold
    /// as in a [`Service`](crate::Service). Dropping the future stops at once.
    ///
    /// Ends as well where the client does, which async-nats's does when it panics over a carriage return in a header that
    /// anybody sends here: who is still to be called connects again and opens another.
    pub async fn serve<S, B>(self, service: S, stop: impl Future<Output = ()>)
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
        S: Clone + Send + 'static,
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let layers =
            ServiceBuilder::new().layer(ServerMetadataLayer::new()).layer(ServerDeadlineLayer::new());
        let (close, closing) = watch::channel(false);
        let serving = nats::serve(self.client, self.inbox, layers.service(service), closing);
        let stopping = async {
            stop.await;
            let _ = close.send(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            () = stopping => {}
        }
    }
}

impl fmt::Debug for NatsInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsInbox").field("subject", &self.subject).finish_non_exhaustive()
    }
}

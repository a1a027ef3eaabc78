//! WebSockets: the bytes of an upgraded connection, both ways.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use super::headers::lists;
use super::meter::Active;

/// What is kept, as an extension of the request, until the tunnel that comes of it has ended. Clones keep the same.
#[derive(Clone)]
pub(crate) struct Kept(
    #[allow(dead_code, reason = "it is kept, and not looked at")] Arc<dyn Any + Send + Sync>,
);

impl Kept {
    pub(crate) fn new(what: impl Any + Send + Sync) -> Self {
        Self(Arc::new(what))
    }
}

/// The tunnels of a face. They end with its last clone.
#[derive(Clone, Debug)]
pub struct Tunnels {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tasks: TaskTracker,
    stop: CancellationToken,
    permits: Arc<Semaphore>,
}

impl Tunnels {
    /// Room for `most` tunnels at a time.
    pub fn new(most: usize) -> Self {
        let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let inner = Inner { tasks: TaskTracker::new(), stop: CancellationToken::new(), permits };
        Self { inner: Arc::new(inner) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner.tasks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.inner.tasks.is_empty()
    }

    /// Waits until all have ended by themselves, for `grace` at most; then ends them.
    pub async fn drain(&self, grace: Duration) {
        self.inner.tasks.close();
        if tokio::time::timeout(grace, self.inner.tasks.wait()).await.is_err() {
            self.inner.stop.cancel();
            self.inner.tasks.wait().await;
        }
    }

    /// A place for one more.
    pub(super) fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        self.inner.permits.clone().try_acquire_owned().ok()
    }

    /// Copies between the two sides of `permit`'s tunnel once both have been upgraded, until one has said all it had
    /// to say and the other has heard it. So long the request counts as `active`, and what is to be kept is.
    pub(super) fn open(
        &self,
        permit: OwnedSemaphorePermit,
        client: Client,
        service: OnUpgrade,
        active: Active,
    ) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            let _held = (permit, active, client.kept);
            let copying = async {
                let (client, service) = tokio::try_join!(client.upgrade, service)?;
                let (mut client, mut service) = (TokioIo::new(client), TokioIo::new(service));
                copy_bidirectional(&mut client, &mut service).await?;
                Ok::<_, tower::BoxError>(())
            };
            tokio::select! {
                copied = copying => if let Err(error) = copied {
                    tracing::debug!(error, "a tunnel was cut");
                },
                () = stop.cancelled() => {}
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The client's side of a tunnel.
pub(super) struct Client {
    upgrade: OnUpgrade,
    kept: Option<Kept>,
}

/// Takes the client's side out of a request that asks to become a WebSocket.
pub(super) fn asked(request: &mut Request<Body>) -> Option<Client> {
    let websocket = request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && lists(request.headers(), &header::CONNECTION, "upgrade")
        // h2c among others would take what follows out of our sight, and out of the routes.
        && request.headers().get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let extensions = request.extensions_mut();
    if websocket { Some(Client { upgrade: extensions.remove()?, kept: extensions.remove() }) } else { None }
}

/// Asks the next server for the same upgrade.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Takes the upgrade out of a response that grants it.
pub(super) fn granted<B>(response: &mut Response<B>) -> Option<OnUpgrade> {
    let granted = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if granted { response.extensions_mut().remove() } else { None }
}

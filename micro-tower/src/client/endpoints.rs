//! Turns discovered endpoints into connections, and keeps those of endpoints that only changed a label.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use micro_balance::Attributes;
use micro_discover::Endpoint;
use tower::discover::{Change, Discover};

use crate::transport::{Connection, Connector, RequestBody};

/// A [`Discover`] of connections over one of endpoints.
///
/// An endpoint whose address stays the same keeps its connections when anything else about it changes.
pub struct ConnectedEndpoints<D: Discover, B: RequestBody = tonic::body::Body> {
    discover: D,
    connector: Connector,
    known: HashMap<D::Key, (Endpoint, Connection<B>)>,
    labels: Labels<D::Key>,
}

/// What the balancer is told of each endpoint beside its connection.
type Labels<K> = Arc<Mutex<HashMap<K, Attributes>>>;

impl<D, B> ConnectedEndpoints<D, B>
where
    D: Discover<Service = Endpoint>,
    D::Key: Hash + Clone,
    B: RequestBody,
{
    /// Connects to whatever `discover` finds, by `connector`.
    pub fn new(discover: D, connector: Connector) -> Self {
        Self { discover, connector, known: HashMap::new(), labels: Labels::default() }
    }

    /// What discovery says of each endpoint beside where it is: weight, zone, priority, labels. For
    /// [`attributes`](micro_balance::Builder::attributes) of a balancer, to which all endpoints are alike without it.
    pub fn attributes(&self) -> impl Fn(&D::Key, &Connection<B>) -> Attributes + Send + Sync + use<D, B>
    where
        D::Key: Send,
    {
        let labels = self.labels.clone();
        move |key, _| {
            let labels = labels.lock().unwrap_or_else(PoisonError::into_inner);
            labels.get(key).cloned().unwrap_or_default()
        }
    }

    fn insert(&mut self, key: D::Key, endpoint: Endpoint) -> Connection<B> {
        let attributes = Attributes {
            weight: endpoint.weight,
            zone: endpoint.zone.as_deref().map(Into::into),
            priority: endpoint.priority,
            degraded: endpoint.is_degraded(),
            metadata: endpoint.metadata.shared(),
        };
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), attributes);
        let connection = match self.known.remove(&key) {
            Some((before, connection)) if before.address == endpoint.address => connection,
            _ => self.connector.connect_with(&endpoint),
        };
        self.known.insert(key, (endpoint, connection.clone()));
        connection
    }
}

impl<D, B> Stream for ConnectedEndpoints<D, B>
where
    D: Discover<Service = Endpoint> + Unpin,
    D::Key: Hash + Clone + Unpin,
    B: RequestBody,
{
    type Item = Result<Change<D::Key, Connection<B>>, D::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let change = match ready!(Pin::new(&mut self.discover).poll_discover(cx)) {
            Some(change) => change?,
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(match change {
            Change::Insert(key, endpoint) => {
                let connection = self.insert(key.clone(), endpoint);
                Change::Insert(key, connection)
            }
            Change::Remove(key) => {
                self.known.remove(&key);
                self.labels.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                Change::Remove(key)
            }
        })))
    }
}

impl<D: Discover, B: RequestBody> fmt::Debug for ConnectedEndpoints<D, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectedEndpoints").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

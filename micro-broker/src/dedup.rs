//! Handles an event once, however often it is delivered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

use crate::event::Event;
use crate::id::Id;

/// Wraps services in [`Dedup`]. Clones, and what they wrap, share one memory of ids.
#[derive(Clone, Debug)]
pub struct DedupLayer {
    memory: Arc<Mutex<Memory>>,
}

impl DedupLayer {
    /// Remembers the ids of the last `capacity` handled events, at least 1. What lies further back is handled again, and
    /// so is what another process handled: the memory is this process's.
    pub fn new(capacity: usize) -> Self {
        Self { memory: Arc::new(Mutex::new(Memory { capacity: capacity.max(1), ..Memory::default() })) }
    }
}

impl<S> Layer<S> for DedupLayer {
    type Service = Dedup<S>;

    fn layer(&self, inner: S) -> Dedup<S> {
        Dedup { inner, memory: self.memory.clone() }
    }
}

/// Answers `None` for an event whose id was handled before, and the handler's answer for others. An event that failed
/// was not handled, and comes through again. A delivery of an event that is being handled, as after a lost connection,
/// waits for what becomes of the other: it must not use up attempts and end among the dead letters meanwhile. Events whose
/// sender left their id empty are not one and the same, and all come through.
#[derive(Clone, Debug)]
pub struct Dedup<S> {
    inner: S,
    memory: Arc<Mutex<Memory>>,
}

/// Another delivery of the event was being handled, and failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("another delivery of the event, for which this one waited, failed")]
pub struct Unfinished(());

#[derive(Debug, Default)]
struct Memory {
    capacity: usize,
    handled: HashSet<Id>,
    oldest: VecDeque<Id>,
    /// What is being handled; whoever waits for it hears the sender go.
    begun: HashMap<Id, watch::Sender<()>>,
}

impl<S> Service<Event> for Dedup<S>
where
    S: Service<Event>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Option<S::Response>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, event: Event) -> Self::Future {
        let id = event.id.clone();
        if id.is_empty() {
            return self.inner.call(event).map(|handled| handled.map(Some).map_err(Into::into)).boxed();
        }
        {
            let mut memory = lock(&self.memory);
            if memory.handled.contains(&id) {
                return std::future::ready(Ok(None)).boxed();
            }
            if let Some(begun) = memory.begun.get(&id) {
                return other(id, begun.subscribe(), self.memory.clone()).boxed();
            }
            memory.begun.insert(id.clone(), watch::Sender::new(()));
        }
        let begun = Begun { id, memory: self.memory.clone() };
        let response = self.inner.call(event);
        async move {
            let response = response.await.map_err(Into::into)?;
            begun.finish();
            Ok(Some(response))
        }
        .boxed()
    }
}

/// What becomes of another delivery.
async fn other<T>(
    id: Id,
    mut begun: watch::Receiver<()>,
    memory: Arc<Mutex<Memory>>,
) -> Result<Option<T>, BoxError> {
    // Nothing is ever sent, so this is the end of the other.
    let _ = begun.changed().await;
    if lock(&memory).handled.contains(&id) { Ok(None) } else { Err(Unfinished(()).into()) }
}

/// An event being handled. Dropped unfinished, it was not handled.
struct Begun {
    id: Id,
    memory: Arc<Mutex<Memory>>,
}

impl Begun {
    fn finish(&self) {
        let mut memory = lock(&self.memory);
        memory.handled.insert(self.id.clone());
        memory.oldest.push_back(self.id.clone());
        if memory.oldest.len() > memory.capacity
            && let Some(oldest) = memory.oldest.pop_front()
        {
            memory.handled.remove(&oldest);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        lock(&self.memory).begun.remove(&self.id);
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().expect("no user code runs under this lock")
}

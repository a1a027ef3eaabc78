//! The balancer: a service over a stream of endpoints.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, atomic::Ordering::Acquire},
    task::{Context, Poll},
};

use tower::BoxError;
use tower_service::Service;

use crate::{
    chance::Chance,
    eject::Ejections,
    eligible::Fallbacks,
    endpoint::Endpoint,
    policy::{PeakEwma, Policy},
    protocol::{HashKey, Opaque, Protocol},
    response::ResponseFuture,
    shared::Shared,
    snapshot::{Snapshot, Wish},
    view::View,
};

/// Sends each request to one of many endpoints, and elsewhere if it could not be sent there.
///
/// Clones share everything and are cheap: one reference count. `poll_ready` is always ready and reserves
/// nothing. A request that finds no endpoint ready waits inside its response future, up to the failfast
/// limit. Endpoints are connected, watched and ejected by a task of the balancer's own, which ends with the
/// last clone, so a dead endpoint is a state and not an answer. A clone that is kept but not used keeps the
/// services it used last.
///
/// `S` is the service of one endpoint, `Req` the request, `P` the [`Policy`], `T` the [`Protocol`].
///
/// # Errors
///
/// Whatever the endpoint answers, [`NoEndpoints`](crate::NoEndpoints) when discovery knows of none, has ended or has
/// not answered in time, and [`NotReady`](crate::NotReady) when none became ready in time, or the runtime is gone
/// that the balancer was built on; the last two inside [`NotSent`](crate::NotSent).
///
/// ```
/// use micro_balance::{Balance, policy::RoundRobin};
/// use tower::{Service, ServiceExt, discover::ServiceList, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let replica = |name: &'static str| service_fn(move |request: String| async move {
///     Ok::<_, tower::BoxError>(format!("{name} says hello to {request}"))
/// });
/// let replicas = ServiceList::new(vec![replica("a"), replica("b")]);
/// let mut balance = Balance::builder(replicas).policy(RoundRobin::starting_at(0)).build();
///
/// let answer = balance.ready().await?.call("John".to_owned()).await?;
/// assert_eq!(answer, "a says hello to John");
/// # Ok(())
/// # }
/// ```
pub struct Balance<S, Req, P: Policy = PeakEwma, T = Opaque> {
    shared: Arc<Shared<S, P, T>>,
    seen: Seen<S, P>,
    chance: Chance,
    request: PhantomData<fn(Req)>,
}

/// The snapshot a handle used last.
///
/// Asking for the current one costs two locked instructions, so a handle that is used again and again keeps
/// it. One that is cloned for a single request does not pay for keeping it.
enum Seen<S, P: Policy> {
    Nothing,
    Once,
    Version(u64, Arc<Snapshot<S, P>>),
}

impl<S, P: Policy> Seen<S, P> {
    /// Keeps the current snapshot.
    #[cold]
    fn renew<T>(&mut self, version: u64, shared: &Shared<S, P, T>) {
        *self = Self::Version(version, shared.snapshot.load_full());
    }
}

impl<S, Req, P: Policy, T> Balance<S, Req, P, T> {
    pub(crate) fn from_parts(shared: Arc<Shared<S, P, T>>, chance: Chance) -> Self {
        Self { shared, seen: Seen::Nothing, chance, request: PhantomData }
    }

    /// Every endpoint discovery knows of, with its state and figures, by id.
    pub fn endpoints(&self) -> Vec<View> {
        self.shared.snapshot.load().views()
    }

    /// How many requests each step of eligibility gave way for.
    pub fn fallbacks(&self) -> Fallbacks {
        self.shared.fallbacks.read()
    }

    /// How often each detector of [`Ejection`](crate::Ejection) found an endpoint, ejected or not.
    pub fn ejections(&self) -> Vec<Ejections> {
        self.shared.settings.tally.all().collect()
    }
}

impl<S, Req, P: Policy, T> Balance<S, Req, P, T> {
    /// How many endpoints there are to choose from right now.
    pub fn ready_endpoints(&self) -> usize {
        self.shared.snapshot.load().len()
    }

    /// The endpoint that the next request would go to, and its service, without sending anything; `None` while
    /// there is nobody. It may not be ready any more once it is used.
    ///
    /// For those who bring requests there by themselves. What they send is not counted.
    #[inline]
    pub fn pick(&mut self, key: Option<HashKey>) -> Option<(&Endpoint, &S)> {
        let Self { shared, seen, chance, .. } = self;
        let version = shared.version.load(Acquire);
        if !matches!(seen, Seen::Version(known, _) if *known == version) {
            seen.renew(version, shared);
        }
        let Seen::Version(_, snapshot) = seen else { return None };
        let hash = key.map(|key| key.0);
        // Nothing but the policy may want to know the time here.
        let now = shared.policy.timing().and_then(|_| shared.now());
        let wish = Wish { tried: None, avoid: None, hash, now, parts: None };
        snapshot.pick(&shared.policy, &wish, chance, &shared.fallbacks)
    }
}

impl<S, Req, P, T> Service<Req> for Balance<S, Req, P, T>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    P: Policy,
    T: Protocol<Req, S::Response>,
    Req: Send + 'static,
{
    type Response = T::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Req, P, T>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let version = self.shared.version.load(Acquire);
        match &self.seen {
            Seen::Version(known, snapshot) if *known == version => {
                ResponseFuture::new(&self.shared, snapshot, request, &self.chance)
            }
            _ => self.call_anew(version, request),
        }
    }
}

impl<S, Req, P, T> Balance<S, Req, P, T>
where
    S: Service<Req> + Clone,
    P: Policy,
    T: Protocol<Req, S::Response>,
{
    /// Calls an endpoint of a snapshot that this handle has not seen, and keeps it if it is used again.
    #[inline(never)]
    fn call_anew(&mut self, version: u64, request: Req) -> ResponseFuture<S, Req, P, T> {
        let Self { shared, seen, chance, .. } = self;
        if matches!(seen, Seen::Nothing) {
            *seen = Seen::Once;
            return ResponseFuture::new(shared, &shared.snapshot.load(), request, chance);
        }
        // Loaded after its number: it may be newer, which the next request finds out.
        let snapshot = shared.snapshot.load_full();
        let response = ResponseFuture::new(shared, &snapshot, request, chance);
        *seen = Seen::Version(version, snapshot);
        response
    }
}

impl<S, Req, P: Policy, T> Clone for Balance<S, Req, P, T> {
    fn clone(&self) -> Self {
        let (shared, chance) = (self.shared.clone(), self.chance.clone());
        Self { shared, seen: Seen::Nothing, chance, request: PhantomData }
    }
}

impl<S, Req, P: Policy, T> fmt::Debug for Balance<S, Req, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

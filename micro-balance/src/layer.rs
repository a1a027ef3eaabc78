//! The balancer as a layer over a discovery.

use std::{fmt, hash::Hash, marker::PhantomData};

use tower::{BoxError, discover::Discover};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    balance::Balance,
    builder::Builder,
    policy::{PeakEwma, Policy},
    protocol::{Opaque, Protocol},
};

/// Turns a [`Discover`] into a [`Balance`] over its services.
///
/// The policy is made anew for every balancer, so that no two share a cursor. What else can be set is set by
/// [`Balance::builder`].
///
/// ```
/// use micro_balance::{BalanceLayer, policy::RoundRobin};
/// use tower::{ServiceBuilder, ServiceExt, discover::ServiceList, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let replica = service_fn(|request: String| async move { Ok::<_, tower::BoxError>(request) });
/// let service = ServiceBuilder::new()
///     .layer(BalanceLayer::new().policy(RoundRobin::new))
///     .service(ServiceList::new(vec![replica, replica]));
/// assert_eq!(service.oneshot("hello".to_owned()).await?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct BalanceLayer<Req, F = fn() -> PeakEwma, T = Opaque> {
    policy: F,
    protocol: T,
    request: PhantomData<fn(Req)>,
}

impl<Req> BalanceLayer<Req> {
    /// Balances with every default.
    pub fn new() -> Self {
        Self { policy: PeakEwma::new, protocol: Opaque, request: PhantomData }
    }
}

impl<Req> Default for BalanceLayer<Req> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, F, T> BalanceLayer<Req, F, T> {
    /// Balances by what `policy` makes.
    pub fn policy<P: Policy, G: Fn() -> P>(self, policy: G) -> BalanceLayer<Req, G, T> {
        BalanceLayer { policy, protocol: self.protocol, request: PhantomData }
    }

    /// Reads requests and answers by `protocol`.
    pub fn protocol<U>(self, protocol: U) -> BalanceLayer<Req, F, U> {
        BalanceLayer { policy: self.policy, protocol, request: PhantomData }
    }
}

impl<D, Req, P, F, T> Layer<D> for BalanceLayer<Req, F, T>
where
    D: Discover + Send + Unpin + 'static,
    D::Key: Hash + Clone + fmt::Debug + Send + Sync,
    D::Error: fmt::Display,
    D::Service: Service<Req> + Clone + Send + Sync + 'static,
    <D::Service as Service<Req>>::Error: Into<BoxError>,
    F: Fn() -> P,
    P: Policy,
    T: Protocol<Req, <D::Service as Service<Req>>::Response>,
    Req: Send + 'static,
{
    type Service = Balance<D::Service, Req, P, T>;

    fn layer(&self, discover: D) -> Self::Service {
        Builder::new(discover).policy((self.policy)()).protocol(self.protocol.clone()).build()
    }
}

impl<Req, F: Clone, T: Clone> Clone for BalanceLayer<Req, F, T> {
    fn clone(&self) -> Self {
        Self { policy: self.policy.clone(), protocol: self.protocol.clone(), request: PhantomData }
    }
}

impl<Req, F, T: fmt::Debug> fmt::Debug for BalanceLayer<Req, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceLayer").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

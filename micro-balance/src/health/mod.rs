//! Active health checks: endpoints are asked, beside the requests, whether they are well.
//!
//! An endpoint that is checked takes no request before its first word, takes them at once when that is good,
//! and is left out while it says, or shows, that it is not well. One that says that it is
//! [degraded](Condition::Degraded) takes what the others cannot. [`GrpcCheck`] speaks gRPC's health protocol,
//! [`HttpCheck`] asks for a page, [`TcpCheck`] connects, and any closure that takes the endpoint's service and
//! answers a `Result` is a [`Check`] too.
//!
//! ```
//! use std::time::Duration;
//! use micro_balance::{Balance, health::HealthCheck};
//! use tower::{ServiceExt, discover::ServiceList, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower::BoxError> {
//! let replica = service_fn(|request: String| async move { Ok::<_, tower::BoxError>(request) });
//! let balance = Balance::builder(ServiceList::new(vec![replica, replica]))
//!     .health_check(HealthCheck::default().interval(Duration::from_secs(1)), |service| async move {
//!         ServiceExt::<String>::oneshot(service, "are you well?".to_owned()).await.map(drop)
//!     })
//!     .build();
//! assert_eq!(balance.oneshot("hello".to_owned()).await?, "hello");
//! # Ok(())
//! # }
//! ```

mod check;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod schedule;
mod standing;
mod supervise;
mod tcp;

#[cfg(feature = "grpc")]
pub use self::grpc::GrpcCheck;
pub(crate) use self::supervise::Supervisor;
pub use self::{check::Check, http::HttpCheck, schedule::HealthCheck, tcp::TcpCheck};
pub use crate::condition::Condition;

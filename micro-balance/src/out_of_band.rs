//! Asks for load reports by gRPC, out of band,
//! <https://github.com/grpc/proposal/blob/master/A51-custom-backend-metrics.md>.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture};
use http::{Request, Response, uri::PathAndQuery};
use http_body::Body;
use prost::Message;
use tonic::{Code, body::Body as TonicBody, client::Grpc};
use tonic_prost::ProstCodec;
use tower::{BoxError, ServiceExt};
use tower_service::Service;

use crate::{
    listen::{Reporter, Reports},
    load_report::LoadReport,
};

/// The method that streams reports.
const METHOD: &str = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";

/// Has endpoints report their load every so often by `xds.service.orca.v3.OpenRcaService`, for
/// [`OrcaWeighted`](crate::policy::OrcaWeighted): for endpoints that answer too seldom, or by streams too long, to
/// report by trailers.
///
/// An endpoint that does not have the method (UNIMPLEMENTED) is not asked again while it is connected, and a warning
/// says so once.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::OutOfBand;
///
/// let reporter = OutOfBand::<tonic::body::Body>::every(Duration::from_secs(10));
/// ```
pub struct OutOfBand<B> {
    period: Duration,
    warned: Arc<AtomicBool>,
    body: PhantomData<fn() -> B>,
}

impl<B> OutOfBand<B> {
    /// A report each `period`, or as often as the server is willing to; gRPC asks each 10 s.
    pub fn every(period: Duration) -> Self {
        Self { period, warned: Arc::default(), body: PhantomData }
    }
}

/// `xds.service.orca.v3.OrcaLoadReportRequest`.
#[derive(Clone, PartialEq, Message)]
struct Ask {
    #[prost(message, optional, tag = "1")]
    interval: Option<Interval>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Interval {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl<S, B, C> Reporter<S> for OutOfBand<B>
where
    S: Service<Request<B>, Response = Response<C>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: From<TonicBody> + Send + 'static,
    C: Body<Data = Bytes> + Send + 'static,
    C::Error: Into<BoxError> + Send,
{
    fn reports(&self, service: S) -> BoxFuture<'static, Result<Reports, BoxError>> {
        let seconds = i64::try_from(self.period.as_secs()).unwrap_or(i64::MAX);
        let interval = Interval { seconds, nanos: self.period.subsec_nanos() as i32 };
        let warned = self.warned.clone();
        Box::pin(async move {
            let service = service.map_request(|request: Request<TonicBody>| request.map(B::from));
            let mut client = Grpc::new(service);
            client.ready().await.map_err(Into::<BoxError>::into)?;
            let request = tonic::Request::new(Ask { interval: Some(interval) });
            let codec = ProstCodec::<Ask, LoadReport>::default();
            match client.server_streaming(request, PathAndQuery::from_static(METHOD), codec).await {
                // The client lives as long as its stream.
                Ok(reports) => {
                    let reports =
                        reports.into_inner().map(move |report| (report, &client).0.map_err(BoxError::from));
                    Ok(Some(reports.boxed()))
                }
                Err(status) if status.code() == Code::Unimplemented => {
                    if !warned.swap(true, Relaxed) {
                        tracing::warn!("an endpoint does not implement {METHOD}, and reports no load");
                    }
                    Ok(None)
                }
                Err(status) => Err(status.into()),
            }
        })
    }

    fn patience(&self) -> Duration {
        // A server may have a longer period than it is asked for.
        self.period.saturating_mul(3).max(Duration::from_secs(60))
    }
}

impl<B> fmt::Debug for OutOfBand<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutOfBand").field("period", &self.period).finish_non_exhaustive()
    }
}

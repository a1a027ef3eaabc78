//! Which endpoint a request went to, for whoever sent it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::{endpoint::Endpoint, stats::Stats};

/// The endpoint that a request was sent to last.
///
/// Put a clone into the extensions of an [`http::Request`], and ask the other once there is an answer, or none.
///
/// ```
/// # use micro_balance::SentTo;
/// let sent_to = SentTo::default();
/// let mut request = http::Request::get("/").body(())?;
/// request.extensions_mut().insert(sent_to.clone());
/// // let response = client.call(request).await;
/// assert_eq!(sent_to.id(), None, "it has been nowhere yet");
/// # Ok::<_, http::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SentTo(Arc<ArcSwapOption<Stats>>);

impl SentTo {
    /// The endpoint's id; none while the request has been sent nowhere.
    pub fn id(&self) -> Option<Arc<str>> {
        Some(self.0.load().as_ref()?.id().clone())
    }

    pub(crate) fn set(&self, endpoint: &Endpoint) {
        self.0.store(Some(endpoint.stats().clone()));
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use tower::{BoxError, Service, ServiceExt, discover::ServiceList, service_fn};

    use super::*;
    use crate::{Balance, Http, policy::RoundRobin};

    #[tokio::test]
    async fn whoever_sends_a_request_learns_where_it_went() {
        let replica = |body: &'static str| {
            service_fn(move |_: Request<()>| async move {
                Ok::<_, BoxError>(Response::new(http_body_util::Full::<bytes::Bytes>::from(body)))
            })
        };
        let discover = ServiceList::new(vec![replica("a"), replica("b")]);
        let mut balance =
            Balance::builder(discover).policy(RoundRobin::starting_at(0)).protocol(Http).build();
        for id in ["0", "1", "0"] {
            let (sent_to, mut request) = (SentTo::default(), Request::new(()));
            request.extensions_mut().insert(sent_to.clone());
            balance.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(sent_to.id().as_deref(), Some(id));
        }
    }
}

//! Answers gRPC health checks, as the protocol says where tonic's own answers differ.

use std::{future::ready, time::Duration};

use futures_util::{
    StreamExt as _,
    stream::{BoxStream, once, unfold},
};
use tokio::{sync::watch, time::sleep};
use tonic::{Code, Request, Response, Status};
use tonic_health::{
    pb::{HealthCheckRequest, HealthCheckResponse, health_check_response, health_server::Health},
    server::{HealthReporter, HealthService},
};

/// How often a watch looks whether the service it is about is known by now: tonic's reporter tells nobody.
const ASK: Duration = Duration::from_millis(500);

/// Health checks that outlive neither a service's name nor the server: whoever watches an unknown service is
/// told SERVICE_UNKNOWN, and more once it is known; all watches end when the server closes, so that none of
/// them holds a connection.
#[derive(Debug)]
pub(super) struct Checks {
    reporter: HealthReporter,
    inner: HealthService,
    closing: watch::Receiver<bool>,
}

type Item = Result<HealthCheckResponse, Status>;

impl Checks {
    pub(super) fn new(reporter: HealthReporter, closing: watch::Receiver<bool>) -> Self {
        Self { inner: HealthService::from_health_reporter(reporter.clone()), reporter, closing }
    }
}

#[tonic::async_trait]
impl Health for Checks {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.inner.check(request).await
    }

    type WatchStream = BoxStream<'static, Item>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = HealthService::from_health_reporter(self.reporter.clone());
        let watch = (statuses(service, request.into_inner()), self.closing.clone());
        let next = |watch: Option<(BoxStream<'static, Item>, watch::Receiver<bool>)>| async {
            let (mut statuses, mut closing) = watch?;
            let closed = async {
                // Whoever would say it is gone where that fails.
                let _ = closing.wait_for(|closing| *closing).await;
            };
            let item = tokio::select! {
                biased;
                // That it does not serve any more is still told.
                item = statuses.next() => item?,
                () = closed => return Some((Err(Status::unavailable("the server is stopping")), None)),
            };
            Some((item, Some((statuses, closing))))
        };
        Ok(Response::new(unfold(Some(watch), next).boxed()))
    }
}

/// What becomes of a service, known or not: each status once, however often the reporter says it. Never ends.
fn statuses(health: HealthService, about: HealthCheckRequest) -> BoxStream<'static, Item> {
    let next = |(health, about, mut told): (HealthService, HealthCheckRequest, bool)| async move {
        loop {
            let statuses = match health.watch(Request::new(about.clone())).await {
                Ok(watch) => {
                    told = false;
                    watch.into_inner().boxed()
                }
                Err(status) if status.code() == Code::NotFound && told => {
                    sleep(ASK).await;
                    continue;
                }
                Err(_unknown) => {
                    told = true;
                    once(ready(Ok(unknown()))).boxed()
                }
            };
            return Some((statuses, (health, about, told)));
        }
    };
    let mut said = None;
    let news = move |item: &Item| {
        let status = item.as_ref().ok().map(|answer| answer.status);
        let before = std::mem::replace(&mut said, status);
        ready(status.is_none() || status != before)
    };
    unfold((health, about, false), next).flatten().filter(news).boxed()
}

fn unknown() -> HealthCheckResponse {
    HealthCheckResponse { status: health_check_response::ServingStatus::ServiceUnknown.into() }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tonic_health::ServingStatus;

    use super::*;

    fn about(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_of_an_unknown_service_says_so_and_hears_of_it_later() {
        let mut reporter = HealthReporter::new();
        let (_close, closing) = watch::channel(false);
        let checks = Checks::new(reporter.clone(), closing);
        let mut watch = checks.watch(about("greeter")).await.unwrap().into_inner();
        assert_eq!(watch.next().await.unwrap().unwrap(), unknown());
        reporter.set_service_status("greeter", ServingStatus::Serving).await;
        assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
        reporter.clear_service_status("greeter").await;
        assert_eq!(watch.next().await.unwrap().unwrap(), unknown());
    }

    #[tokio::test]
    async fn a_watch_hears_only_of_changes() {
        let reporter = HealthReporter::new();
        let (_close, closing) = watch::channel(false);
        let checks = Checks::new(reporter.clone(), closing);
        let mut watch = checks.watch(about("")).await.unwrap().into_inner();
        assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
        // A server says so once it listens; until then it is said of every server.
        reporter.set_service_status("", ServingStatus::Serving).await;
        assert!(watch.next().now_or_never().is_none());
        reporter.set_service_status("", ServingStatus::NotServing).await;
        assert_eq!(watch.next().await.unwrap().unwrap().status, 2);
    }

    #[tokio::test]
    async fn a_watch_ends_when_the_server_closes() {
        let (close, closing) = watch::channel(false);
        let checks = Checks::new(HealthReporter::new(), closing);
        let mut watch = checks.watch(about("")).await.unwrap().into_inner();
        assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
        close.send(true).unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert!(watch.next().await.is_none());
    }
}

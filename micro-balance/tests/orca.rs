//! Shares by what servers report of their load.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{convert::Infallible, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use micro_balance::{Balance, Http, policy::OrcaWeighted};
use tokio::time::sleep;
use tower::{ServiceExt, discover::ServiceList, service_fn};

/// A report: requests a second and the application's utilization.
fn report(qps: f64, utilization: f64) -> String {
    let mut bytes = vec![6 << 3 | 1];
    bytes.extend(qps.to_le_bytes());
    bytes.push(9 << 3 | 1);
    bytes.extend(utilization.to_le_bytes());
    BASE64_STANDARD.encode(bytes)
}

#[tokio::test(start_paused = true)]
async fn reports_in_trailers_count_from_the_end_of_the_blackout_until_they_expire() {
    let server = |utilization: f64| {
        service_fn(move |_: Request<()>| async move {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("endpoint-load-metrics-bin", report(10.0, utilization).parse().unwrap());
            let body =
                Full::new(Bytes::new()).with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
            let mut response = Response::new(body);
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            Ok::<_, Infallible>(response)
        })
    };
    let servers = ServiceList::new::<Request<()>>(vec![server(1.0), server(0.1)]);
    let balance = Balance::builder(servers).policy(OrcaWeighted::new()).protocol(Http).build();
    let shares = async |count: usize| {
        let picks = || -> Vec<u64> { balance.endpoints().into_iter().map(|view| view.picks).collect() };
        let before = picks();
        for _ in 0..count {
            let response = balance.clone().oneshot(Request::new(())).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        picks().into_iter().zip(before).map(|(now, before)| now - before).collect::<Vec<_>>()
    };
    sleep(Duration::from_millis(5)).await;
    assert_eq!(shares(100).await, [50, 50]);
    sleep(Duration::from_millis(9_500)).await;
    assert_eq!(shares(100).await, [50, 50], "in the blackout");
    sleep(Duration::from_secs(2)).await;
    let weighed = shares(110).await;
    assert!(weighed[0].abs_diff(10) <= 2 && weighed[1].abs_diff(100) <= 2, "{weighed:?}");
    sleep(Duration::from_secs(182)).await;
    assert_eq!(shares(100).await, [50, 50], "expired");
}

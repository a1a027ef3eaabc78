//! Two choices by Finagle's own suite for them.

use std::{convert::Infallible, time::Duration};

use micro_balance::{
    Balance, Chance, Ejection,
    policy::{Context, LeastRequest, PeakEwma, Policy},
};
use serde_json::Value;
use tokio::time::sleep;
use tower::{ServiceExt, discover::ServiceList, service_fn};

use crate::endpoints::Set;

/// A time of Finagle's clock, and how long an endpoint takes there.
const STEP: Duration = Duration::from_millis(1);
const LATENCY: u32 = 5;

fn suite() -> Value {
    serde_json::from_str::<Value>(include_str!("../data/finagle.json")).unwrap()["p2c_suite"].take()
}

fn number(name: &str) -> usize {
    suite()[name].as_u64().unwrap() as usize
}

/// How many picks each endpoint has after a request each step, where they take so many steps.
async fn picks(policy: PeakEwma, steps: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let serve = |steps: u32| {
        service_fn(move |(): ()| async move {
            sleep(STEP * steps).await;
            Ok::<_, Infallible>(())
        })
    };
    let endpoints = ServiceList::new::<()>(steps.into_iter().map(serve).collect::<Vec<_>>());
    let balance = Balance::builder(endpoints).policy(policy).ejection(Ejection::off()).seed(12345).build();
    sleep(STEP * 50).await;
    for _ in 0..number("picks") {
        tokio::spawn(balance.clone().oneshot(()));
        sleep(STEP).await;
    }
    balance.endpoints().into_iter().map(|view| view.picks).collect()
}

/// As in its tests.
fn finagles() -> PeakEwma {
    PeakEwma::new().decay(STEP * 150).classic()
}

/// How far apart the loads are that Finagle looks at: of each endpoint the mean over its own requests.
fn spread(picks: &[u64]) -> f64 {
    let mean = |picks: &u64| (picks + 1) as f64 / 2.0;
    let most = picks.iter().max().map(mean).unwrap();
    most - picks.iter().min().map(mean).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_back_catches_up_with_the_others() {
    let (count, requests) = (number("endpoints"), number("picks"));
    let mut set = Set::weighing(&vec![1; count]).await;
    let chance = Chance::new(7);
    for down in [1, 0] {
        let table = LeastRequest.table(&set.endpoints[down..]);
        for _ in 0..requests {
            let pick = LeastRequest.pick(&table, &set.endpoints[down..], &Context::new(&chance)).unwrap();
            set.hold(pick + down);
        }
        let loads: Vec<_> = set.endpoints[down..].iter().map(|endpoint| endpoint.in_flight()).collect();
        let most = number("assert_least_loaded_spread_lt") as f64;
        assert!(down == 0 || spread(&loads) < most, "{loads:?}");
    }
    assert_eq!(suite()["revived_endpoint"], "\u{2248} 2R/N");
    let revived = set.endpoints[0].in_flight() as f64 * count as f64 / requests as f64;
    assert!((revived - 2.0).abs() < 0.1, "{revived} times R/N");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_alike_share_alike_by_their_latency() {
    let picks = picks(finagles(), vec![LATENCY; number("endpoints")]).await;
    assert!(spread(&picks) < number("assert_ewma_spread_lt") as f64, "{picks:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_never_answered_is_asked_once_until_it_does() {
    let never = 2 * number("picks") as u32;
    let picks = picks(finagles(), [never].into_iter().chain(vec![1; number("endpoints")])).await;
    assert!(suite()["ewma_latent"].as_str().unwrap().contains("exactly once"));
    assert_eq!(picks[0], 1);
    assert!(spread(&picks[1..]) < number("assert_ewma_spread_lt") as f64, "{picks:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_twice_as_long_gets_half() {
    let twice = [2 * LATENCY].into_iter().chain(vec![LATENCY; number("endpoints")]);
    let picks = picks(finagles(), twice).await;
    assert_eq!(suite()["ewma_2x_latency"], "receives ~half the load");
    let mean = picks[1..].iter().sum::<u64>() as f64 / number("endpoints") as f64;
    assert!((picks[0] as f64 / mean - 0.5).abs() < 0.05, "{} of {mean}", picks[0]);
}

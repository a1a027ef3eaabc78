//! Rows of others' tests that stand in no table, by their names there.

use micro_balance::{
    Balance,
    policy::{LeastOfAll, RequestBias},
};
use tower::ServiceExt;

use crate::{
    endpoints::Set,
    support::{FAST, Fake, Mood, fakes, settle},
};

/// Envoy, `EqualWeightsWithActiveRequestBias`.
#[tokio::test(start_paused = true)]
async fn a_bias_counts_for_endpoints_that_weigh_the_same() {
    let mut set = Set::weighing(&[1, 1]).await;
    set.load(0, 1).await;
    let shares = set.shares(&RequestBias::new(), 300);
    assert!(shares[1].abs_diff(200) <= 2, "{shares:?}");
}

/// grpc-go, `TestLeastRequestPersistsCounts`.
#[tokio::test(start_paused = true)]
async fn requests_under_way_still_count_when_another_endpoint_comes() {
    let ([a, b], hand, changes) = fakes(["a", "b"], Mood::Silent);
    let balance = Balance::builder(changes).policy(LeastOfAll).seed(1).build();
    settle().await;
    let held: Vec<_> = (0..50).map(|_| tokio::spawn(balance.clone().oneshot(()))).collect();
    settle().await;
    let c = Fake::new("c", FAST);
    hand.insert("c", &c);
    settle().await;
    for _ in 0..50 {
        assert_eq!(balance.clone().oneshot(()).await.unwrap(), "c");
    }
    assert_eq!([a, b, c].map(|fake| fake.calls()), [25, 25, 50]);
    held.iter().for_each(|call| call.abort());
}

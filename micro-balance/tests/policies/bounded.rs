//! Policies that relieve an endpoint of the requests that are too many for its keys.

use micro_balance::policy::{Maglev, Policy, RingHash};

use crate::{
    endpoints::Set,
    hashing::{key, sorted},
};

#[tokio::test(start_paused = true)]
async fn a_bounded_ring_gives_no_endpoint_more_than_its_bound() {
    let mut set = Set::named(sorted(4)).await;
    let policy = RingHash::new().bounded(1.25).unwrap();
    let table = policy.table(&set.endpoints);
    for n in 1..=40 {
        // One key is all there is.
        let index = set.pick(&policy, &table, 7, 0);
        set.load(index, 1).await;
        let bound = ((f64::from(n) * 1.25).ceil() / 4.0).ceil();
        assert!(set.endpoints.iter().all(|endpoint| endpoint.in_flight() as f64 <= bound));
    }
    assert!(RingHash::new().bounded(0.9).is_err() && RingHash::new().bounded(f64::NAN).is_err());
}

/// The order in which Envoy shuffles five by the hash 2.
#[tokio::test(start_paused = true)]
async fn a_bounded_ring_like_envoys_and_maglev_are_relieved_as_envoys_are() {
    relieved_as_envoys_is(RingHash::envoy(1024, 8_388_608).unwrap().bounded(1.25).unwrap()).await;
    relieved_as_envoys_is(Maglev::new().bounded(1.25).unwrap()).await;
    assert!(Maglev::new().bounded(0.9).is_err() && Maglev::new().bounded(f64::NAN).is_err());
}

async fn relieved_as_envoys_is(policy: impl Policy) {
    let mut set = Set::named(sorted(5)).await;
    let table = policy.table(&set.endpoints);
    let first = set.pick(&policy, &table, 2, 0);
    let others: Vec<_> = [2, 1, 0, 4, 3].into_iter().filter(|&index| index != first).collect();
    set.load(first, 1).await;
    assert_eq!(set.pick(&policy, &table, 2, 0), first, "one of one is not too many");
    set.load(first, 2).await;
    assert_eq!(set.pick(&policy, &table, 2, 0), others[0], "three of one are");
    set.load(others[0], 3).await;
    // Of ((6 + 1) * 1.25) 9 each may have 2.
    assert_eq!(set.pick(&policy, &table, 2, 0), others[1]);
}

#[tokio::test(start_paused = true)]
async fn who_weighs_more_may_have_as_many_more() {
    may_have_as_many_more(RingHash::envoy(1024, 8_388_608).unwrap().bounded(1.0).unwrap()).await;
    may_have_as_many_more(Maglev::new().bounded(1.0).unwrap()).await;
}

async fn may_have_as_many_more(policy: impl Policy) {
    // Of so many and one more it may have its part of the weight, rounded up.
    for (index, most) in [(0, 1), (1, 6)] {
        let mut set = Set::weighing(&[1, 3]).await;
        let table = policy.table(&set.endpoints);
        let hash = (0..).map(key).find(|&hash| set.pick(&policy, &table, hash, 0) == index).unwrap();
        set.load(index, most).await;
        assert_eq!(set.pick(&policy, &table, hash, 0), index, "{most}");
        set.load(index, 1).await;
        assert_eq!(set.pick(&policy, &table, hash, 0), 1 - index, "one more than {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bound_is_a_part_of_all_requests_and_the_next_one() {
    for (bound, most) in [(1.0, 2), (1.25, 4), (1.5, 6)] {
        for policy in
            [Maglev::new().bounded(bound).unwrap(), Maglev::with_size(251).unwrap().bounded(bound).unwrap()]
        {
            let mut set = Set::weighing(&[1, 1]).await;
            let table = policy.table(&set.endpoints);
            let first = set.pick(&policy, &table, 7, 0);
            set.load(first, most).await;
            assert_eq!(set.pick(&policy, &table, 7, 0), first, "{most} within {bound}");
            set.load(first, 1).await;
            assert_eq!(set.pick(&policy, &table, 7, 0), 1 - first, "one more than {most}, above {bound}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_turned_down_goes_on_to_its_next_slot_however_busy() {
    let mut set = Set::named(sorted(5)).await;
    let (plain, bounded) = (Maglev::new(), Maglev::new().bounded(1.0).unwrap());
    let (table, bounds) = (plain.table(&set.endpoints), bounded.table(&set.endpoints));
    for index in 0..5 {
        set.load(index, 10 * index).await;
    }
    let differ = |attempt| {
        let both =
            |n| [set.pick(&plain, &table, key(n), attempt), set.pick(&bounded, &bounds, key(n), attempt)];
        (0..100).map(both).any(|[plain, bounded]| plain != bounded)
    };
    assert!(differ(0) && !differ(1) && !differ(2));
}

/// A ring of one point, which is what gRPC makes where no more are allowed: its owner has all keys.
#[tokio::test(start_paused = true)]
async fn who_stands_alone_on_a_ring_keeps_its_keys_however_many_requests_it_has() {
    let mut set = Set::named(sorted(2)).await;
    let policy = RingHash::grpc(1, 1).unwrap().bounded(1.0).unwrap();
    let table = policy.table(&set.endpoints);
    let owner = set.pick(&policy, &table, 7, 0);
    for _ in 0..5 {
        set.load(owner, 1).await;
        assert_eq!(set.pick(&policy, &table, 7, 0), owner);
    }
}

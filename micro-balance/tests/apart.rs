//! Requests that belong to some endpoints, where these stand apart from others by zone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::Request;
use micro_balance::{
    Attributes, Balance, Ejection, Http, State, Tried,
    eligible::{Locality, locality::ZoneWeights},
    policy::{
        Boxed, FirstAttempts, HashBy, LabelSubset, Maglev, Override, OverrideHost, Policy, RoundRobin,
        Source, Wanted,
    },
};
use support::{FAST, Fake, Hand, Mood, Page, count, discovery, pages, settle};
use tokio::time::sleep;
use tower::ServiceExt;

type Pages<P> = Balance<Page, Request<()>, P, Http>;

/// Endpoints such as `near1` and `far2`: zones, and versions. Each zone has as much weight.
fn apart<P: Policy, const N: usize>(names: [&'static str; N], policy: P) -> ([Fake; N], Hand, Pages<P>) {
    let (hand, changes) = discovery();
    let fakes = names.map(|name| Fake::new(name, FAST));
    names.iter().zip(&fakes).for_each(|(name, fake)| hand.insert(name, fake));
    let second = Duration::from_secs(1);
    let balance = Balance::builder(pages(changes))
        .protocol(Http)
        .policy(policy)
        .ejection(Ejection::default().consecutive_failures(1).base(second).max(second))
        .locality(Locality::Weighted(ZoneWeights::new([("near", 1), ("far", 1)])))
        .attributes(|name: &&'static str, _: &Page| {
            let (zone, version) = name.split_at(name.len() - 1);
            let metadata = Arc::new([("version".to_owned(), version.to_owned())].into());
            Attributes { zone: Some(zone.into()), metadata, ..Attributes::default() }
        })
        .seed(1)
        .build();
    (fakes, hand, balance)
}

fn with<X: Clone + Send + Sync + 'static>(extension: X) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(extension);
    request
}

async fn visits<P: Policy>(balance: &Pages<P>, request: impl Fn() -> Request<()>) -> BTreeMap<String, usize> {
    let mut visits = Vec::new();
    for _ in 0..100 {
        let answer = balance.clone().oneshot(request()).await.unwrap();
        visits.push(answer.headers()["from"].to_str().unwrap().to_owned());
    }
    count(visits.iter().map(String::as_str)).into_iter().map(|(name, n)| (name.to_owned(), n)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_with_its_endpoint_whichever_zone_the_others_go_to() {
    let policy = OverrideHost::new(RoundRobin::starting_at(0)).by(Source::Extension);
    let ([near1, ..], _hand, balance) = apart(["near1", "near2", "far1", "far2"], Boxed::new(policy));
    settle().await;
    for id in ["near1", "far2"] {
        assert_eq!(visits(&balance, || with(Override::new(id))).await, [(id.to_owned(), 100)].into());
    }
    let others = visits(&balance, || with(Override::new("gone"))).await;
    assert!(others.len() == 4 && others.values().all(|&n| n > 10), "{others:?}");
    // Another attempt goes elsewhere.
    let tried = Tried::default();
    let again = || {
        let mut request = with(Override::new("far2"));
        request.extensions_mut().insert(tried.clone());
        request
    };
    for wanted in [true, false, false, false] {
        let answer = balance.clone().oneshot(again()).await.unwrap();
        assert_eq!(answer.headers()["from"] == "far2", wanted);
    }
    half_open(&balance, &near1).await;
    assert_eq!(visits(&balance, || with(Override::new("far2"))).await, [("far2".to_owned(), 100)].into());
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_with_its_endpoint_through_labels_that_more_than_one_zone_has() {
    let sessions = || OverrideHost::new(RoundRobin::starting_at(0)).by(Source::Extension);
    let by_version = LabelSubset::new(RoundRobin::starting_at(0)).by(["version"]);
    let policies = [
        Boxed::new(LabelSubset::new(sessions()).by(["version"])),
        Boxed::new(OverrideHost::new(by_version).by(Source::Extension)),
        Boxed::new(FirstAttempts::new(LabelSubset::new(sessions()).by(["version"]), "version", "9")),
    ];
    for policy in policies {
        let (_fakes, _hand, balance) = apart(["near1", "near2", "far1", "far2"], policy);
        settle().await;
        for id in ["near1", "far2", "far1"] {
            let named = || with(Override::new(id));
            let wanted = || {
                let mut request = named();
                request.extensions_mut().insert(Wanted::new([("version", &id[id.len() - 1..])]));
                request
            };
            assert_eq!(visits(&balance, named).await, [(id.to_owned(), 100)].into());
            assert_eq!(visits(&balance, wanted).await, [(id.to_owned(), 100)].into());
            // Another attempt goes elsewhere, and first where it is wanted.
            let tried = Tried::default();
            let again = || {
                let mut request = wanted();
                request.extensions_mut().insert(tried.clone());
                request
            };
            let (mut first, mut second) = (String::new(), String::new());
            for visited in [&mut first, &mut second] {
                let answer = balance.clone().oneshot(again()).await.unwrap();
                answer.headers()["from"].to_str().unwrap().clone_into(visited);
            }
            assert_eq!((&*first, second.strip_suffix(&id[id.len() - 1..]).is_some()), (id, true), "{second}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_stays_with_its_endpoint_where_zones_share_requests() {
    let by_user = || HashBy::header("user", Maglev::new()).unwrap();
    key_stays(by_user()).await;
    key_stays(Boxed::new(by_user())).await;
    key_stays(FirstAttempts::new(by_user(), "version", "3")).await;
    key_stays(OverrideHost::new(by_user()).by(Source::Extension)).await;
    key_stays(LabelSubset::new(by_user()).by(["version"])).await;
}

async fn key_stays<P: Policy>(policy: P) {
    let (_fakes, _hand, balance) = apart(["near1", "near2", "far1", "far2"], policy);
    settle().await;
    let mut all = BTreeMap::new();
    for user in 0..20 {
        let visited = visits(&balance, || Request::get("/").header("user", user).body(()).unwrap()).await;
        assert_eq!(visited.len(), 1, "{visited:?} of user {user}");
        all.extend(visited);
    }
    assert_eq!(all.len(), 4, "others have others");
}

/// Has an endpoint ejected, and waits until a request may try it.
async fn half_open<P: Policy>(balance: &Pages<P>, fake: &Fake) {
    fake.set(Mood::Fails(Duration::ZERO));
    while balance.clone().oneshot(Request::new(())).await.is_ok() {}
    fake.set(FAST);
    sleep(Duration::from_millis(1_010)).await;
    assert!(balance.endpoints().iter().any(|view| view.state == State::HalfOpen));
}

#[tokio::test(start_paused = true)]
async fn a_label_that_one_zone_has_alone_is_found_there_and_one_that_all_have_is_shared() {
    let policy = LabelSubset::new(RoundRobin::starting_at(0)).by(["version"]);
    let ([near1, ..], _hand, balance) = apart(["near1", "near2", "far1", "far3"], policy);
    settle().await;
    let version = |version: &'static str| move || with(Wanted::new([("version", version)]));
    assert_eq!(visits(&balance, version("2")).await, [("near2".to_owned(), 100)].into());
    assert_eq!(visits(&balance, version("3")).await, [("far3".to_owned(), 100)].into());
    let shared = visits(&balance, version("1")).await;
    assert!(shared.len() == 2 && shared.values().all(|&n| n > 30), "{shared:?}");
    assert_eq!(visits(&balance, version("4")).await.len(), 4);
    // However often it is tried.
    let tried = Tried::default();
    for _ in 0..3 {
        let mut request = version("3")();
        request.extensions_mut().insert(tried.clone());
        let answer = balance.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.headers()["from"], "far3");
    }
    half_open(&balance, &near1).await;
    assert_eq!(visits(&balance, version("3")).await, [("far3".to_owned(), 100)].into());
}

#[tokio::test(start_paused = true)]
async fn a_label_is_found_in_its_zone_through_policies_around_the_one_that_looks_for_it() {
    let by_version = || LabelSubset::new(RoundRobin::starting_at(0)).by(["version"]);
    let around = [
        Boxed::new(HashBy::header("x-user", by_version()).unwrap()),
        Boxed::new(FirstAttempts::new(by_version(), "version", "4")),
    ];
    for policy in around {
        let ([near1, ..], _hand, balance) = apart(["near1", "near2", "far1", "far3"], policy);
        settle().await;
        let version = |version: &'static str| move || with(Wanted::new([("version", version)]));
        assert_eq!(visits(&balance, version("2")).await, [("near2".to_owned(), 100)].into());
        assert_eq!(visits(&balance, version("3")).await, [("far3".to_owned(), 100)].into());
        half_open(&balance, &near1).await;
        assert_eq!(visits(&balance, version("3")).await, [("far3".to_owned(), 100)].into());
        let found_out = visits(&balance, version("1")).await;
        assert!(found_out.contains_key("near1"), "{found_out:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_elsewhere_leaves_a_zone_of_canaries_while_there_is_anybody_else() {
    let policy = FirstAttempts::new(RoundRobin::starting_at(0), "version", "9");
    let (_fakes, hand, balance) = apart(["near9", "far1", "far9"], policy);
    settle().await;
    let tried = Tried::default();
    assert_eq!(visits(&balance, || with(Tried::default())).await.len(), 3);
    visits(&balance, || with(tried.clone())).await;
    assert_eq!(visits(&balance, || with(tried.clone())).await, [("far1".to_owned(), 100)].into());
    hand.remove("far1");
    settle().await;
    assert_eq!(visits(&balance, || with(tried.clone())).await.len(), 2);
}

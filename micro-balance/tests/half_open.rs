//! Which requests find out whether an ejected endpoint is well again, and where a request goes that may not go anywhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod scripted;
mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use http::Request;
use http_body_util::BodyExt as _;
use micro_balance::{
    Attributes, Balance, Ejection, HashKey, Http, State, Tried,
    policy::{
        FirstAttempts, LabelSubset, Modulo, Otherwise, Override, OverrideHost, Policy, RoundRobin, Source,
        Wanted,
    },
};
use scripted::{Scripted, call, grpc, grpc_silent, grpc_trailers};
use support::{FAST, Fake, Hand, Mood, Page, discovery, fakes, pages, settle};
use tokio::time::{sleep, timeout};
use tower::{ServiceExt, discover::ServiceList};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn ejection() -> Ejection {
    Ejection::default().consecutive_failures(1).base(ms(1_000)).max(ms(1_000))
}

fn states<S, Req, P: Policy, T>(balance: &Balance<S, Req, P, T>) -> Vec<State> {
    balance.endpoints().iter().map(|view| view.state).collect()
}

type Pages<P> = Balance<Page, Request<()>, P, Http>;

/// Endpoints whose version is their last letter.
fn versions<P: Policy, const N: usize>(names: [&'static str; N], policy: P) -> ([Fake; N], Hand, Pages<P>) {
    let (hand, changes) = discovery();
    let fakes = names.map(|name| Fake::new(name, FAST));
    names.iter().zip(&fakes).for_each(|(name, fake)| hand.insert(name, fake));
    let balance = Balance::builder(pages(changes))
        .protocol(Http)
        .policy(policy)
        .ejection(ejection())
        .attributes(|name: &&'static str, _: &Page| {
            let version = name[name.len() - 1..].to_owned();
            Attributes {
                metadata: Arc::new([("version".to_owned(), version)].into()),
                ..Attributes::default()
            }
        })
        .seed(1)
        .build();
    (fakes, hand, balance)
}

fn wanting(version: &str) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(Wanted::new([("version", version)]));
    request
}

async fn visit<P: Policy>(balance: &Pages<P>, request: Request<()>) -> String {
    let answer = balance.clone().oneshot(request).await.unwrap();
    answer.headers()["from"].to_str().unwrap().to_owned()
}

/// Has `fake` ejected by `request`, which it fails, and waits until it is half open and well.
async fn eject<P: Policy>(balance: &Pages<P>, fake: &Fake, request: Request<()>) {
    fake.set(Mood::Fails(ms(0)));
    balance.clone().oneshot(request).await.unwrap_err();
    fake.set(FAST);
    sleep(ms(1_010)).await;
    assert!(states(balance).contains(&State::HalfOpen), "{:?}", balance.endpoints());
}

#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_is_tried_by_a_request_that_asks_for_its_labels_and_by_no_other() {
    let policy = LabelSubset::new(RoundRobin::starting_at(0)).by(["version"]);
    let ([_v1, v2], _hand, balance) = versions(["v1", "v2"], policy);
    settle().await;
    eject(&balance, &v2, wanting("2")).await;
    assert_eq!(visit(&balance, wanting("1")).await, "v1");
    assert_eq!(visit(&balance, wanting("2")).await, "v2");
    settle().await;
    assert_eq!(states(&balance), [State::Ready; 2]);
    // Who asks for nothing, or for what nobody has, may try any.
    eject(&balance, &v2, wanting("2")).await;
    assert_eq!(visit(&balance, wanting("3")).await, "v2");
}

/// By all of its labels, by fewer, or because nobody has them.
#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_is_tried_by_what_falls_back_to_it_and_by_nothing_else() {
    let labels = || LabelSubset::new(RoundRobin::starting_at(0));
    let by_version = || labels().by(["version"]);
    let those = |version: &str| Otherwise::Those([("version".to_owned(), version.to_owned())].into());
    let fewer = || labels().by_or(["stage", "version"], ["version"]).unwrap();
    let staged = |version: &str| {
        let mut request = Request::new(());
        request.extensions_mut().insert(Wanted::new([("version", version), ("stage", "prod")]));
        request
    };
    for (policy, request, visited) in [
        (by_version().otherwise(Otherwise::Anybody), wanting("3"), Some("v2")),
        (by_version().otherwise(Otherwise::Nobody), wanting("3"), None),
        (by_version().otherwise(those("1")), wanting("3"), Some("v1")),
        (by_version().otherwise(those("2")), wanting("3"), Some("v2")),
        (by_version().otherwise(those("2")), Request::new(()), Some("v2")),
        (labels().by_otherwise(["version"], Otherwise::Nobody), wanting("3"), None),
        (labels().by_otherwise(["version"], Otherwise::Nobody), Request::new(()), Some("v2")),
        (labels().by_otherwise(["version"], those("1")), wanting("3"), Some("v1")),
        (
            labels().by_otherwise(["version"], those("2")).otherwise(Otherwise::Nobody),
            wanting("3"),
            Some("v2"),
        ),
        (labels().by_otherwise(["version"], those("2")).otherwise(Otherwise::Nobody), Request::new(()), None),
        (fewer(), staged("1"), Some("v1")),
        (fewer(), staged("2"), Some("v2")),
        (fewer(), staged("3"), Some("v2")),
        (fewer().otherwise(Otherwise::Nobody), staged("3"), None),
    ] {
        let what = format!("{policy:?}, {request:?}");
        let ([_v1, v2], _hand, balance) = versions(["v1", "v2"], policy);
        settle().await;
        eject(&balance, &v2, wanting("2")).await;
        let answer = balance.clone().oneshot(request).await;
        let from = answer.ok().map(|answer| answer.headers()["from"].to_str().unwrap().to_owned());
        assert_eq!(from.as_deref(), visited, "{what}");
        settle().await;
        let found_out = visited == Some("v2");
        assert_eq!(states(&balance)[1] == State::Ready, found_out, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_not_taken_away_to_try_another_endpoint() {
    for strict in [false, true] {
        let policy = OverrideHost::new(RoundRobin::starting_at(0)).by(Source::Extension);
        let policy = if strict { policy.strict() } else { policy };
        let ([_a, b], _hand, balance) = versions(["a", "b"], policy);
        let named = |id: &str| {
            let mut request = Request::new(());
            request.extensions_mut().insert(Override::new(id.to_owned()));
            request
        };
        settle().await;
        eject(&balance, &b, named("b")).await;
        assert_eq!(visit(&balance, named("a")).await, "a");
        assert_eq!(visit(&balance, named("b")).await, "b");
        settle().await;
        assert_eq!(states(&balance), [State::Ready; 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_attempt_stays_among_those_that_have_the_labels_even_if_there_is_but_one() {
    for otherwise in [Otherwise::Anybody, Otherwise::Nobody] {
        // Each by the same key first.
        let policy = LabelSubset::new(Modulo).by(["version"]).otherwise(otherwise);
        let (_fakes, _hand, balance) = versions(["a1", "b1", "c2"], policy);
        settle().await;
        let tried = Tried::default();
        for _ in 0..3 {
            let mut request = wanting("2");
            request.extensions_mut().insert(tried.clone());
            assert_eq!(visit(&balance, request).await, "c2");
        }
        let tried = Tried::default();
        let mut visited = Vec::new();
        for _ in 0..2 {
            let mut request = wanting("1");
            request.extensions_mut().insert(tried.clone());
            request.extensions_mut().insert(HashKey(1));
            visited.push(visit(&balance, request).await);
        }
        visited.sort();
        assert_eq!(visited, ["a1", "b1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_is_not_sent_what_failed_elsewhere_while_there_is_anybody_else() {
    let policy = FirstAttempts::new(RoundRobin::starting_at(0), "version", "c").and("version", "d");
    let (_fakes, hand, balance) = versions(["1a", "2b", "3c", "4d"], policy);
    settle().await;
    let again = |tried: &Tried| {
        let mut request = Request::new(());
        request.extensions_mut().insert(tried.clone());
        request
    };
    let mut firsts = BTreeSet::new();
    for _ in 0..12 {
        let tried = Tried::default();
        let first = visit(&balance, again(&tried)).await;
        for _ in 0..3 {
            let next = visit(&balance, again(&tried)).await;
            assert!(["1a", "2b"].contains(&&*next), "{next} after {first}");
        }
        firsts.insert(first);
    }
    assert_eq!(firsts.len(), 4, "{firsts:?}");
    // Canaries are better than nobody.
    ["1a", "2b"].into_iter().for_each(|name| hand.remove(name));
    settle().await;
    let tried = Tried::default();
    for _ in 0..3 {
        assert!(["3c", "4d"].contains(&&*visit(&balance, again(&tried)).await));
    }
}

#[tokio::test(start_paused = true)]
async fn another_attempt_tries_an_ejected_endpoint_only_if_that_is_no_canary_and_has_its_labels() {
    let policy = LabelSubset::new(RoundRobin::starting_at(0)).by(["version"]);
    let policy = FirstAttempts::new(policy, "version", "3");
    let ([_a, b, c], _hand, balance) = versions(["a1", "b2", "c3"], policy);
    settle().await;
    // What has been to the first already.
    let tried = Tried::default();
    let again = |version: &str| {
        let mut request = wanting(version);
        request.extensions_mut().insert(tried.clone());
        request
    };
    assert_eq!(visit(&balance, again("1")).await, "a1");
    eject(&balance, &b, wanting("2")).await;
    assert_eq!(visit(&balance, again("1")).await, "a1");
    assert_eq!(visit(&balance, again("2")).await, "b2");
    settle().await;
    eject(&balance, &c, wanting("3")).await;
    assert_ne!(visit(&balance, again("3")).await, "c3");
    assert_eq!(visit(&balance, wanting("3")).await, "c3");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_not_readmitted_while_it_keeps_the_request_waiting_that_tries_it() {
    let ([a, b], _hand, changes) = fakes(["a", "b"], Mood::Fails(ms(0)));
    let balance: Balance<_, (), _> =
        Balance::builder(changes).policy(RoundRobin::starting_at(0)).ejection(ejection()).build();
    settle().await;
    balance.clone().oneshot(()).await.unwrap_err();
    a.set(Mood::Silent);
    b.set(FAST);
    sleep(ms(1_010)).await;
    assert_eq!(states(&balance), [State::HalfOpen, State::Ready]);
    let trying = tokio::spawn(timeout(ms(5_000), balance.clone().oneshot(())));
    for _ in 0..48 {
        sleep(ms(100)).await;
        let answer = timeout(ms(50), balance.clone().oneshot(())).await;
        assert_eq!(answer.unwrap().unwrap(), "b");
    }
    assert_eq!(states(&balance), [State::HalfOpen, State::Ready]);
    assert!(trying.await.unwrap().is_err());
    settle().await;
    assert_eq!(states(&balance), [State::Ejected, State::Ready]);
    // One that nobody has come to try is readmitted.
    sleep(ms(2_500)).await;
    assert_eq!(states(&balance), [State::Ready; 2]);
}

/// A stream may last for days, and a subscription say nothing for as long.
#[tokio::test(start_paused = true)]
async fn a_stream_that_tries_an_endpoint_tells_with_its_first_message_and_keeps_it_from_nobody_by_silence() {
    for (answer, read, found) in [
        (grpc_trailers(&["a"], 14, &[]), 1, State::Ready),
        (grpc_trailers(&[], 14, &[]), 1, State::Ejected),
        (grpc_silent(), 0, State::HalfOpen),
    ] {
        let (one, other) = (Scripted::new([grpc(14, &[]), answer]), Scripted::default());
        let endpoints = ServiceList::new::<Request<scripted::Frames>>(vec![one.clone(), other]);
        let balance = Balance::builder(endpoints)
            .protocol(Http)
            .policy(RoundRobin::starting_at(0))
            .ejection(ejection())
            .build();
        let send = || balance.clone().oneshot(call(&["x"]));
        settle().await;
        drop(send().await.unwrap());
        sleep(ms(1_010)).await;
        let mut stream = send().await.unwrap().into_body();
        settle().await;
        assert_eq!(states(&balance)[0], State::HalfOpen);
        for _ in 0..read {
            stream.frame().await.unwrap().unwrap();
        }
        settle().await;
        assert_eq!(states(&balance)[0], found);
        if found == State::HalfOpen {
            // Another one finds out meanwhile.
            one.push(grpc(14, &[]));
            drop(send().await.unwrap());
            settle().await;
            assert_eq!(states(&balance)[0], State::Ejected);
            // Or nobody comes.
            sleep(ms(2_100)).await;
            assert_eq!(states(&balance)[0], State::Ready);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_stream_that_tried_an_endpoint_counts_no_more_once_another_request_has_found_out() {
    let broken = scripted::grpc_broken(ms(500));
    let (one, other) = (Scripted::new([grpc(14, &[]), broken, grpc(14, &[])]), Scripted::default());
    let balance = Balance::builder(ServiceList::new::<Request<scripted::Frames>>(vec![one, other]))
        .protocol(Http)
        .policy(RoundRobin::starting_at(0))
        .ejection(ejection())
        .build();
    let send = || balance.clone().oneshot(call(&["x"]));
    settle().await;
    drop(send().await.unwrap());
    sleep(ms(1_010)).await;
    let mut stream = send().await.unwrap().into_body();
    drop(send().await.unwrap());
    settle().await;
    assert_eq!((states(&balance)[0], balance.endpoints()[0].ejections), (State::Ejected, 2));
    stream.frame().await.unwrap().unwrap_err();
    settle().await;
    assert_eq!((states(&balance)[0], balance.endpoints()[0].ejections), (State::Ejected, 2));
}

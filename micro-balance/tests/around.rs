//! What a policy refuses, leaves out or keeps, where others are around it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Request;
use micro_balance::{
    Attributes, Balance, Endpoint, Http, NoMatch, Tried,
    policy::{
        Boxed, Context, FirstAttempts, HashBy, LabelSubset, Otherwise, Override, OverrideHost, Policy,
        RoundRobin, Source, Turnover, Wanted,
    },
};
use support::{FAST, Fake, Hand, Page, discovery, pages, settle};
use tower::{BoxError, ServiceExt};

type Pages = Balance<Page, Request<()>, Boxed, Http>;

/// Endpoints such as `a1`: names that end in their version. Those that are removed are given a minute.
async fn versions<const N: usize>(names: [&'static str; N], policy: Boxed) -> (Hand, Pages) {
    let (hand, changes) = discovery();
    for name in names {
        hand.insert(name, &Fake::new(name, FAST));
    }
    let balance = Balance::builder(pages(changes))
        .protocol(Http)
        .policy(policy)
        .drain(Duration::from_secs(60))
        .attributes(|name: &&'static str, _: &Page| {
            let metadata = Arc::new([("version".to_owned(), name[name.len() - 1..].to_owned())].into());
            Attributes { metadata, ..Attributes::default() }
        })
        .seed(1)
        .build();
    settle().await;
    (hand, balance)
}

/// A request for a version that names an endpoint.
fn request(version: &str, name: &str) -> Request<()> {
    let wanted = Wanted::new([("version", version)]);
    Request::builder().extension(wanted).extension(Override::new(name)).body(()).unwrap()
}

async fn visit(balance: &Pages, request: Request<()>) -> Result<String, BoxError> {
    let answer = balance.clone().oneshot(request).await?;
    Ok(answer.headers()["from"].to_str().unwrap().to_owned())
}

fn sessions() -> OverrideHost<RoundRobin> {
    OverrideHost::new(RoundRobin::starting_at(0)).by(Source::Extension)
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_refuses_is_refused_whatever_is_around_it() {
    let by_version =
        || LabelSubset::new(RoundRobin::starting_at(0)).by(["version"]).otherwise(Otherwise::Nobody);
    let policies = [
        Boxed::new(by_version()),
        Boxed::new(OverrideHost::new(by_version()).by(Source::Extension)),
        Boxed::new(HashBy::new(|_| None, OverrideHost::new(by_version()))),
        Boxed::new(FirstAttempts::new(by_version(), "version", "9")),
        Boxed::new(LabelSubset::new(sessions().strict()).by(["stage"])),
        Boxed::new(OverrideHost::new(sessions().strict())),
    ];
    for policy in policies {
        let (hand, balance) = versions(["a1", "b1"], policy).await;
        for who in [&["a1", "b1"][..], &["a1"]] {
            let visited = visit(&balance, request("1", "a1")).await.unwrap();
            assert!(who.contains(&&*visited));
            let refused = visit(&balance, request("2", "c2")).await.unwrap_err();
            assert!(refused.source().unwrap().is::<NoMatch>(), "{refused:?}");
            hand.remove("b1");
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_with_who_was_removed_goes_elsewhere_where_it_asks_for_other_labels() {
    let policy = LabelSubset::new(sessions()).by(["version"]);
    let (hand, balance) = versions(["a1", "b2", "c1"], Boxed::new(policy)).await;
    for _ in ["all are there", "a1 is given time"] {
        for (version, visited) in [("1", "a1"), ("2", "b2"), ("3", "a1")] {
            assert_eq!(visit(&balance, request(version, "a1")).await.unwrap(), visited);
        }
        hand.remove("a1");
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_canary_that_was_removed_goes_elsewhere_once_it_has_failed_somewhere() {
    let policy = FirstAttempts::new(sessions(), "version", "9");
    let (hand, balance) = versions(["a1", "b1", "c9"], Boxed::new(policy)).await;
    for _ in ["all are there", "c9 is given time"] {
        let tried = Tried::default();
        let visits = ["a1", "c9"].map(|name| {
            let mut request = request("1", name);
            request.extensions_mut().insert(tried.clone());
            request
        });
        let [first, second] = visits;
        assert_eq!(visit(&balance, request("1", "c9")).await.unwrap(), "c9");
        assert_eq!(visit(&balance, first).await.unwrap(), "a1");
        assert_eq!(visit(&balance, second).await.unwrap(), "b1");
        hand.remove("c9");
        settle().await;
    }
}

/// A policy that must not be overruled stands within: what may go elsewhere goes there all the same.
#[tokio::test(start_paused = true)]
async fn a_session_that_failed_with_who_was_removed_goes_elsewhere_unless_it_may_go_nowhere_else() {
    let by_version =
        || LabelSubset::new(RoundRobin::starting_at(0)).by(["version"]).otherwise(Otherwise::Nobody);
    let policies = [
        (OverrideHost::new(by_version()).by(Source::Extension), "b1"),
        (OverrideHost::new(by_version()).by(Source::Extension).strict(), "a1"),
    ];
    for (policy, again) in policies {
        let (hand, balance) = versions(["a1", "b1", "c2"], Boxed::new(policy)).await;
        hand.remove("a1");
        settle().await;
        let tried = Tried::default();
        for visited in ["a1", again] {
            let mut request = request("1", "a1");
            request.extensions_mut().insert(tried.clone());
            assert_eq!(visit(&balance, request).await.unwrap(), visited);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_removed_is_kept_by_sessions_of_a_policy_inside_another_unless_that_one_is_strict() {
    let by_cookie = || OverrideHost::new(sessions()).by(Source::cookie("session"));
    for (policy, is_kept) in [(by_cookie(), true), (by_cookie().strict(), false)] {
        let (hand, balance) = versions(["a1", "b1"], Boxed::new(policy)).await;
        hand.remove("a1");
        settle().await;
        let visited = visit(&balance, request("1", "a1")).await;
        assert_eq!(visited.is_ok_and(|name| name == "a1"), is_kept);
    }
}

/// Counts how often its table was made of the last one.
#[derive(Clone, Debug, Default)]
struct Updated(Arc<AtomicUsize>);

impl Policy for Updated {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn update(&self, (): &(), _: &Turnover<'_>) -> Option<()> {
        self.0.fetch_add(1, Relaxed);
        Some(())
    }

    fn pick(&self, (): &(), _: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        Some(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_is_made_of_the_last_one_through_policies_around_its_own() {
    let around: [fn(Updated) -> Boxed; 3] = [
        Boxed::new,
        |policy| Boxed::new(HashBy::new(|_| None, policy)),
        |policy| Boxed::new(OverrideHost::new(policy).by(Source::Extension)),
    ];
    for (around, is_sticky) in around.into_iter().zip([false, false, true]) {
        let updated = Updated::default();
        let (hand, balance) = versions(["b1", "c1"], around(updated.clone())).await;
        let before = updated.0.load(Relaxed);
        hand.insert("a1", &Fake::new("a1", FAST));
        settle().await;
        assert!(updated.0.load(Relaxed) > before);
        for name in ["a1", "b1", "c1"] {
            let visited = visit(&balance, request("1", name)).await.unwrap();
            assert_eq!(visited, if is_sticky { name } else { "a1" });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_are_canaries_the_policy_inside_chooses_among_them_for_another_attempt_too() {
    let policy = FirstAttempts::new(sessions().strict(), "version", "9");
    let (_hand, balance) = versions(["a9", "b9"], Boxed::new(policy)).await;
    let tried = Tried::default();
    for name in ["a9", "b9"] {
        let mut request = request("9", name);
        request.extensions_mut().insert(tried.clone());
        assert_eq!(visit(&balance, request).await.unwrap(), name);
    }
}

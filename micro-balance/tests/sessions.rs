//! Sessions stay where they are while an endpoint is drained.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Request;
use micro_balance::{
    Attributes, Balance, Http, State,
    policy::{Boxed, FirstAttempts, HashBy, LabelSubset, Override, OverrideHost, RoundRobin, Source},
    session::SessionLayer,
};
use support::{FAST, Fake, Hand, Mood, Page, discovery, pages, settle};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

type Sticky = Balance<Page, Request<()>, OverrideHost<RoundRobin>, Http>;

fn sticky(drain: Duration) -> (Hand, Sticky) {
    let (hand, changes) = discovery();
    let policy = OverrideHost::new(RoundRobin::starting_at(0)).by(Source::cookie("session"));
    let balance = Balance::builder(pages(changes))
        .protocol(Http)
        .policy(policy)
        .drain(drain)
        .attributes(|name: &&'static str, _: &Page| Attributes {
            weight: u32::from(*name != "drained"),
            ..Attributes::default()
        })
        .seed(1)
        .build();
    (hand, balance)
}

async fn visit(balance: &Sticky, session: Option<&str>) -> String {
    let mut request = Request::new(());
    if let Some(id) = session {
        let cookie = format!("session={}", BASE64_STANDARD.encode(id));
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
    }
    let answer = balance.clone().oneshot(request).await.unwrap();
    answer.headers()["from"].to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_of_weight_0_goes_on_with_the_sessions_it_has_and_takes_no_other() {
    let (hand, balance) = sticky(ms(1_000));
    for name in ["a", "b", "drained"] {
        hand.insert(name, &Fake::new(name, FAST));
    }
    visit(&balance, None).await;
    settle().await;
    for _ in 0..6 {
        assert_eq!(visit(&balance, Some("drained")).await, "drained");
        assert_ne!(visit(&balance, None).await, "drained");
    }
}

/// However a request names it, and nobody else's.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_removed_goes_on_with_what_names_it_by_header_cookie_or_extension() {
    let (hand, changes) = discovery();
    let sources = [Source::Extension, Source::header("x-host").unwrap(), Source::cookie("session")];
    let policy = sources.into_iter().fold(OverrideHost::new(RoundRobin::new()), OverrideHost::by);
    // Through whatever policies there are around.
    let policy = LabelSubset::new(FirstAttempts::new(Boxed::new(policy), "stage", "canary")).by(["version"]);
    let policy = HashBy::header("x-key", policy).unwrap();
    let balance = Balance::builder(pages(changes)).protocol(Http).policy(policy).drain(ms(60_000)).build();
    for name in ["a", "b", "gone"] {
        hand.insert(name, &Fake::new(name, FAST));
    }
    settle().await;
    assert_eq!(balance.endpoints().len(), 3);
    hand.remove("gone");
    settle().await;
    let name_by: [fn(&str) -> Request<()>; 4] = [
        |id| Request::builder().header("x-host", id).body(()).unwrap(),
        |id| Request::builder().header("x-host", format!("{id}, b")).body(()).unwrap(),
        |id| {
            let cookie = format!("session={}", BASE64_STANDARD.encode(id));
            Request::builder().header("cookie", cookie).body(()).unwrap()
        },
        |id| Request::builder().extension(Override::new(id)).body(()).unwrap(),
    ];
    for request in name_by {
        for id in ["gone", "a", "gone", "a"] {
            let answer = balance.clone().oneshot(request(id)).await.unwrap();
            assert_eq!(answer.headers()["from"], id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_removed_goes_on_with_its_sessions_for_the_time_it_is_given() {
    let (hand, balance) = sticky(ms(1_000));
    let fakes = ["a", "b"].map(|name| Fake::new(name, FAST));
    hand.insert("a", &fakes[0]);
    hand.insert("b", &fakes[1]);
    visit(&balance, None).await;
    settle().await;
    hand.remove("b");
    settle().await;
    for _ in 0..4 {
        assert_eq!(visit(&balance, Some("b")).await, "b");
        assert_eq!(visit(&balance, None).await, "a");
    }
    let state = |id: &str| balance.endpoints().iter().find(|view| *view.id == *id).map(|view| view.state);
    assert_eq!((state("a"), state("b")), (Some(State::Ready), Some(State::Draining)));
    sleep(ms(1_100)).await;
    assert_eq!(visit(&balance, Some("b")).await, "a");
    assert_eq!(state("b"), None);
    // One that is back in time takes its sessions and everything else.
    hand.insert("b", &fakes[1]);
    settle().await;
    hand.remove("b");
    settle().await;
    hand.insert("b", &fakes[1]);
    settle().await;
    assert_eq!(state("b"), Some(State::Ready));
    assert_eq!(visit(&balance, Some("b")).await, "b");
    let others = [visit(&balance, None).await, visit(&balance, None).await];
    assert!(others.contains(&"b".to_owned()), "{others:?}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_were_removed_go_on_with_their_sessions_whoever_else_comes() {
    let (hand, balance) = sticky(ms(1_000));
    let fakes = ["a", "b", "c"].map(|name| Fake::new(name, FAST));
    ["a", "b", "c"].into_iter().zip(&fakes).for_each(|(name, fake)| hand.insert(name, fake));
    visit(&balance, None).await;
    settle().await;
    hand.remove("b");
    hand.remove("c");
    settle().await;
    hand.insert("d", &Fake::new("d", FAST));
    hand.insert("c", &fakes[2]);
    settle().await;
    assert_eq!(visit(&balance, Some("b")).await, "b");
    assert_eq!(balance.endpoints().iter().filter(|view| *view.id == *"c").count(), 1);
    sleep(ms(1_000)).await;
    assert_ne!(visit(&balance, Some("b")).await, "b");
    assert_eq!(fakes[1].clones(), 0, "nothing of it is left");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_nobody_has_reached_has_no_sessions_to_go_on_with() {
    let (hand, balance) = sticky(ms(1_000));
    hand.insert("a", &Fake::new("a", FAST));
    hand.insert("b", &Fake::new("b", Mood::Connecting));
    settle().await;
    hand.remove("b");
    settle().await;
    assert_eq!(balance.endpoints().iter().map(|view| view.state).collect::<Vec<_>>(), [State::Ready]);
}

/// Who served a request with these cookies, and what its client is told to send next time.
async fn served(balance: &Sticky, sessions: &SessionLayer, cookies: &[&str]) -> (String, Option<String>) {
    let mut request = Request::new(());
    for cookie in cookies {
        request.headers_mut().append("cookie", cookie.parse().unwrap());
    }
    let answer = sessions.layer(balance.clone()).oneshot(request).await.unwrap();
    let told = answer.headers().get("set-cookie").map(|told| told.to_str().unwrap().to_owned());
    (answer.headers()["from"].to_str().unwrap().to_owned(), told)
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_once_who_serves_it_and_for_how_long_to_know() {
    let (hand, balance) = sticky(ms(0));
    for name in ["a", "b"] {
        hand.insert(name, &Fake::new(name, FAST));
    }
    visit(&balance, None).await;
    settle().await;
    let (open, kept) = (SessionLayer::new("session"), SessionLayer::new("session").max_age(ms(90_700)));
    for (sessions, age) in [(&open, ""), (&kept, "; Max-Age=90")] {
        let (name, told) = served(&balance, sessions, &[]).await;
        let pair = format!("session={}", BASE64_STANDARD.encode(&name));
        assert_eq!(told.unwrap(), format!("{pair}; Path=/; HttpOnly; SameSite=Lax{age}"));
        for cookies in [vec![&*pair], vec!["a=1; b=2", &pair], vec![&format!("a=1;{pair} ; b=2")]] {
            for _ in 0..3 {
                assert_eq!(served(&balance, sessions, &cookies).await, (name.clone(), None), "{cookies:?}");
            }
        }
    }
}

/// Where a balancer has nobody to choose from it asks no policy.
#[tokio::test(start_paused = true)]
async fn a_client_of_the_only_endpoint_is_told_who_serves_it() {
    let (hand, balance) = sticky(ms(0));
    hand.insert("a", &Fake::new("a", FAST));
    visit(&balance, None).await;
    let sessions = SessionLayer::new("session");
    assert_eq!(served(&balance, &sessions, &["session=YQ=="]).await, ("a".to_owned(), None));
    // A cookie of another name or of one that is gone, and one that only ends in ours.
    for cookies in
        [vec![], vec!["other=YQ=="], vec!["session=Yg=="], vec!["mysession=YQ=="], vec!["session=YQ"]]
    {
        let (name, told) = served(&balance, &sessions, &cookies).await;
        assert_eq!((&*name, told.unwrap().split(';').next()), ("a", Some("session=YQ==")), "{cookies:?}");
    }
}

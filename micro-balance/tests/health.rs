//! Endpoints that are asked, beside the requests, whether they are well. Time is paused except for TCP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use micro_balance::{
    Balance, Ejection, Endpoint, Http, State,
    health::{Check, HealthCheck, HttpCheck, TcpCheck},
    policy::{Context, Policy, RoundRobin},
};
use support::{FAST, Fake, Mood, discovery, fakes, settle};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Instant, sleep},
};
use tower::{BoxError, ServiceExt, discover::ServiceList, service_fn};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Sends an endpoint a request.
async fn ask(fake: Fake) -> Result<(), BoxError> {
    ServiceExt::<()>::oneshot(fake, ()).await.map(drop)
}

fn schedule() -> HealthCheck {
    HealthCheck::default().interval(ms(1_000)).timeout(ms(500)).jitter(0.0)
}

fn states<S, Req, P: Policy, T>(balance: &Balance<S, Req, P, T>) -> Vec<State> {
    balance.endpoints().iter().map(|view| view.state).collect()
}

#[tokio::test(start_paused = true)]
async fn no_request_goes_to_an_endpoint_before_its_first_word() {
    let (_fakes, _hand, changes) = fakes(["a"], FAST);
    let check = |fake: Fake| async move {
        sleep(ms(300)).await;
        ask(fake).await
    };
    let balance = Balance::builder(changes).health_check(schedule(), check).build();
    settle().await;
    assert_eq!(states(&balance), [State::Connecting]);
    let began = tokio::time::Instant::now();
    balance.clone().oneshot(()).await.unwrap();
    assert!((290..320).contains(&began.elapsed().as_millis()), "the first success counts at once");
    assert_eq!(states(&balance), [State::Ready]);
}

#[tokio::test(start_paused = true)]
async fn an_unwell_endpoint_is_left_out_after_three_failures_and_back_after_two_successes() {
    let ([a, _b, _c], _hand, changes) = fakes(["a", "b", "c"], FAST);
    let balance = Balance::builder(changes)
        .policy(RoundRobin::new())
        .ejection(Ejection::off())
        .health_check(schedule(), ask)
        .build();
    settle().await;
    a.set(Mood::Fails(ms(0)));
    sleep(ms(2_100)).await;
    assert_eq!(states(&balance)[0], State::Ready, "two failures are not enough");
    sleep(ms(1_000)).await;
    assert_eq!(states(&balance)[0], State::Unhealthy);
    a.take_calls();
    for _ in 0..30 {
        assert_ne!(balance.clone().oneshot(()).await.unwrap(), "a");
    }
    a.set(FAST);
    sleep(ms(1_000)).await;
    assert_eq!(states(&balance)[0], State::Unhealthy, "one success is not enough");
    sleep(ms(1_000)).await;
    assert_eq!(states(&balance)[0], State::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_the_check_in_time_is_unwell() {
    let ([a, _b, _c], _hand, changes) = fakes(["a", "b", "c"], FAST);
    a.set(Mood::Silent);
    let balance = Balance::builder(changes).health_check(schedule(), ask).build();
    sleep(ms(490)).await;
    assert_eq!(states(&balance)[0], State::Connecting);
    sleep(ms(20)).await;
    assert_eq!(states(&balance)[0], State::Unhealthy);
    for _ in 0..30 {
        assert_ne!(balance.clone().oneshot(()).await.unwrap(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn when_checks_find_everybody_unwell_requests_are_sent_all_the_same() {
    let (_fakes, _hand, changes) = fakes(["a", "b"], FAST);
    let check = |_: Fake| async { Err::<(), _>("the check itself is broken".into()) };
    let balance = Balance::builder(changes).health_check(schedule(), check).build();
    settle().await;
    assert_eq!(states(&balance), [State::Unhealthy; 2]);
    balance.oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_good_word_ends_an_ejection_unless_told_otherwise() {
    for readmits in [true, false] {
        let ([a, _b], _hand, changes) = fakes(["a", "b"], FAST);
        let well = Arc::new(AtomicUsize::new(1));
        let says = well.clone();
        let balance = Balance::builder(changes)
            .policy(RoundRobin::new())
            .ejection(
                Ejection::default().consecutive_failures(1).base(Duration::from_secs(60)).max(ms(60_000)),
            )
            .health_check(
                schedule().unhealthy_threshold(1).healthy_threshold(1).readmits(readmits),
                move |_| {
                    let says = says.load(Relaxed);
                    async move { if says == 1 { Ok(()) } else { Err("not now".into()) } }
                },
            )
            .build();
        settle().await;
        a.set(Mood::Fails(ms(0)));
        while balance.clone().oneshot(()).await.is_ok() {}
        settle().await;
        assert_eq!(states(&balance)[0], State::Ejected);
        a.set(FAST);
        well.store(0, Relaxed);
        sleep(ms(1_100)).await;
        well.store(1, Relaxed);
        sleep(ms(1_100)).await;
        assert_eq!(states(&balance)[0], if readmits { State::Ready } else { State::Ejected });
    }
}

/// Envoy's BasicFlow5xxViaHttpCodesWithActiveHC, and what its ejections leave behind.
#[tokio::test(start_paused = true)]
async fn after_a_good_word_failures_in_a_row_begin_anew_and_the_time_of_the_next_ejection_is_its_own() {
    let ([a, _b], _hand, changes) = fakes(["a", "b"], FAST);
    let well = Arc::new(AtomicUsize::new(1));
    let says = well.clone();
    let balance = Balance::builder(changes)
        .policy(RoundRobin::new())
        .ejection(Ejection::off().consecutive_failures(3).base(ms(10_000)).max(ms(60_000)))
        .health_check(schedule().unhealthy_threshold(1).healthy_threshold(1), move |_| {
            let says = says.load(Relaxed);
            async move { if says == 1 { Ok(()) } else { Err("not now".into()) } }
        })
        .build();
    settle().await;
    a.set(Mood::Fails(ms(0)));
    let fails = async |times: usize| {
        for _ in 0..2 * times {
            let _ = balance.clone().oneshot(()).await;
        }
        settle().await;
        states(&balance)[0]
    };
    assert_eq!((fails(2).await, fails(1).await), (State::Ready, State::Ejected));
    let first = Instant::now();
    for word in [0, 1] {
        well.store(word, Relaxed);
        sleep(ms(1_100)).await;
    }
    assert_eq!(states(&balance)[0], State::Ready);
    assert_eq!((fails(2).await, fails(1).await), (State::Ready, State::Ejected));
    let second = Instant::now();
    for (until, state) in [
        (first + ms(10_500), State::Ejected),
        (second + ms(19_500), State::Ejected),
        (second + ms(20_100), State::HalfOpen),
    ] {
        tokio::time::sleep_until(until).await;
        assert_eq!(states(&balance)[0], state, "{:?} after the first", first.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_asked_as_often_as_its_standing_and_its_traffic_say() {
    let (hand, changes) = discovery();
    let (idle, busy, unwell) = (Fake::new("idle", FAST), Fake::new("busy", FAST), Fake::new("unwell", FAST));
    for (name, fake) in [("busy", &busy), ("idle", &idle), ("unwell", &unwell)] {
        hand.insert(name, fake);
    }
    let asked = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let counts = asked.clone();
    let check = move |fake: Fake| {
        let place = ["busy", "idle", "unwell"].iter().position(|name| *name == fake.name());
        counts[place.unwrap()].fetch_add(1, Relaxed);
        async move { if place == Some(2) { Err("not well".into()) } else { Ok(()) } }
    };
    let schedule = schedule().unhealthy_interval(ms(500)).idle_interval(ms(5_000));
    let balance = Balance::builder(changes)
        .policy(Only("busy"))
        .ejection(Ejection::off())
        .health_check(schedule, check)
        .build();
    let traffic = async |seconds: u64| {
        for _ in 0..seconds * 50 {
            balance.clone().oneshot(()).await.unwrap();
            sleep(ms(20)).await;
        }
    };
    // At first nobody has had a request.
    traffic(6).await;
    let before = asked.each_ref().map(|count| count.load(Relaxed));
    traffic(20).await;
    let times = [0, 1, 2].map(|place: usize| asked[place].load(Relaxed) - before[place]);
    assert!(
        times[0].abs_diff(20) <= 1 && times[1].abs_diff(4) <= 1 && times[2].abs_diff(40) <= 1,
        "{times:?}"
    );
}

/// Picks the endpoint of this name.
#[derive(Debug)]
struct Only(&'static str);

impl Policy for Only {
    type Table = ();

    fn table(&self, _: &[Endpoint]) {}

    fn pick(&self, (): &(), endpoints: &[Endpoint], _: &Context<'_>) -> Option<usize> {
        endpoints.iter().position(|endpoint| endpoint.id() == self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn first_checks_are_spread_and_later_ones_drift_apart() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let (_fakes, _hand, changes) = fakes(names, FAST);
    let asked: Arc<Mutex<BTreeMap<&str, Vec<Instant>>>> = Arc::default();
    let noted = asked.clone();
    let check = move |fake: Fake| {
        noted.lock().unwrap().entry(fake.name()).or_default().push(Instant::now());
        async { Ok(()) }
    };
    let schedule = HealthCheck::default().interval(ms(1_000)).initial_jitter(ms(400)).jitter(0.2);
    let began = Instant::now();
    let _balance: Balance<_, ()> = Balance::builder(changes).health_check(schedule, check).seed(3).build();
    sleep(ms(20_000)).await;
    let asked = asked.lock().unwrap();
    let firsts: Vec<_> = asked.values().map(|times| (times[0] - began).as_millis()).collect();
    assert_eq!(firsts.len(), names.len());
    assert!(firsts.iter().all(|first| *first <= 405), "{firsts:?}");
    assert!(firsts.iter().max().unwrap() - firsts.iter().min().unwrap() > 200, "{firsts:?}");
    let gaps = asked.values().flat_map(|times| times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()));
    let gaps: Vec<_> = gaps.collect();
    assert!(gaps.iter().all(|gap| (799..=1_202).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap < 850) && gaps.iter().any(|gap| *gap > 1_150), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn checks_end_with_their_endpoint_and_do_not_count_as_requests() {
    let (hand, changes) = discovery();
    let a = Fake::new("a", FAST);
    hand.insert("a", &a);
    let balance: Balance<_, ()> = Balance::builder(changes).health_check(schedule(), ask).build();
    sleep(ms(10_500)).await;
    assert_eq!(a.calls(), 11);
    assert_eq!(balance.endpoints()[0].picks, 0);
    hand.remove("a");
    settle().await;
    let asked = a.calls();
    sleep(ms(10_000)).await;
    assert_eq!(a.calls(), asked);
}

/// Finds all well whose names do not begin with `un`.
async fn by_name(fake: Fake) -> Result<(), BoxError> {
    if fake.name().starts_with("un") { Err("not well".into()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn who_is_announced_anew_is_the_one_that_is_asked_from_then_on() {
    let (hand, changes) = discovery();
    hand.insert("a", &Fake::new("well", FAST));
    let balance: Balance<_, ()> = Balance::builder(changes).health_check(schedule(), by_name).build();
    settle().await;
    assert_eq!(states(&balance), [State::Ready]);
    hand.insert("a", &Fake::new("unwell", FAST));
    settle().await;
    assert_eq!(states(&balance), [State::Unhealthy]);
}

#[tokio::test(start_paused = true)]
async fn an_unwell_endpoint_is_asked_at_once_when_it_is_connected_anew() {
    let ([a], _hand, changes) = fakes(["a"], FAST);
    let well = Arc::new(AtomicUsize::new(0));
    let says = well.clone();
    let balance = Balance::builder(changes)
        .ejection(Ejection::off())
        .health_check(schedule().unhealthy_interval(ms(600_000)), move |_| {
            let says = says.load(Relaxed);
            async move { if says == 1 { Ok(()) } else { Err("not well".into()) } }
        })
        .build();
    settle().await;
    assert_eq!(states(&balance), [State::Unhealthy]);
    a.set(Mood::Refuses);
    let _ = tokio::time::timeout(ms(100), balance.clone().oneshot(())).await;
    a.set(FAST);
    well.store(1, Relaxed);
    sleep(ms(5_000)).await;
    assert_eq!(states(&balance), [State::Ready]);
}

#[tokio::test(start_paused = true)]
async fn no_request_tries_an_endpoint_that_checks_find_unwell() {
    let ([a, _b, _c], _hand, changes) = fakes(["a", "b", "c"], FAST);
    let well = Arc::new(AtomicUsize::new(1));
    let says = well.clone();
    let balance = Balance::builder(changes)
        .policy(RoundRobin::starting_at(0))
        .ejection(Ejection::off().consecutive_failures(1).base(ms(2_000)).max(ms(2_000)))
        .health_check(schedule().unhealthy_threshold(1), move |fake: Fake| {
            let well = says.load(Relaxed) == 1 || fake.name() != "a";
            async move { if well { Ok(()) } else { Err("not well".into()) } }
        })
        .build();
    settle().await;
    a.set(Mood::Fails(ms(0)));
    well.store(0, Relaxed);
    for _ in 0..3 {
        let _ = balance.clone().oneshot(()).await;
    }
    sleep(ms(2_100)).await;
    assert_eq!((states(&balance)[0], a.take_calls()), (State::Unhealthy, 1));
    for _ in 0..10 {
        balance.clone().oneshot(()).await.unwrap();
    }
    assert_eq!(a.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_page_with_the_expected_status_means_that_the_endpoint_is_well() {
    let status = Arc::new(AtomicU16::new(204));
    let answers = status.clone();
    let server = service_fn(move |request: Request<Full<bytes::Bytes>>| {
        let status = StatusCode::from_u16(answers.load(Relaxed)).unwrap();
        assert_eq!(request.uri().path(), "/healthz");
        assert_eq!(request.headers()["host"], "greeter");
        async move {
            let mut response = Response::new(Full::<bytes::Bytes>::from("some page"));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    let check = || HttpCheck::new("/healthz").unwrap().host("greeter".parse().unwrap());
    let balance = |check: HttpCheck<_>| {
        Balance::<_, Request<Full<bytes::Bytes>>>::builder(ServiceList::new(vec![server.clone()]))
            .protocol(Http)
            .health_check(schedule(), check)
            .build()
    };
    let strict = balance(check());
    let wide = balance(check().expect([200..=299, 304..=304]));
    settle().await;
    assert_eq!((states(&strict), states(&wide)), (vec![State::Unhealthy], vec![State::Ready]));
    status.store(200, Relaxed);
    sleep(ms(2_010)).await;
    assert_eq!(states(&strict), [State::Ready]);
}

#[tokio::test(start_paused = true)]
async fn a_page_says_that_an_endpoint_is_unwell_at_once_unless_its_status_may_be_chance_and_that_it_is_degraded()
 {
    let (status, degraded) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
    let (answers, says) = (status.clone(), degraded.clone());
    let server = service_fn(move |_: Request<Full<bytes::Bytes>>| {
        let mut response = Response::new(Full::<bytes::Bytes>::default());
        *response.status_mut() = StatusCode::from_u16(answers.load(Relaxed)).unwrap();
        if says.load(Relaxed) > 0 {
            response.headers_mut().insert("x-envoy-degraded", "".parse().unwrap());
        }
        async move { Ok::<_, Infallible>(response) }
    });
    let check = HttpCheck::new("/healthz").unwrap().retriable([500..=502]);
    let balance = Balance::<_, Request<Full<bytes::Bytes>>>::builder(ServiceList::new(vec![server]))
        .protocol(Http)
        .health_check(schedule(), check)
        .build();
    settle().await;
    let state = async || {
        sleep(ms(1_000)).await;
        states(&balance)[0]
    };
    assert_eq!(state().await, State::Ready);
    degraded.store(1, Relaxed);
    assert_eq!(state().await, State::Degraded);
    status.store(502, Relaxed);
    assert_eq!(
        (state().await, state().await, state().await),
        (State::Degraded, State::Degraded, State::Unhealthy)
    );
    degraded.store(0, Relaxed);
    status.store(200, Relaxed);
    assert_eq!((state().await, state().await), (State::Unhealthy, State::Ready));
    status.store(503, Relaxed);
    assert_eq!(state().await, State::Unhealthy, "its own word");
}

#[tokio::test]
async fn an_endpoint_that_takes_a_connection_and_says_the_right_thing_is_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(if &heard == b"ping" { b"pong" } else { b"what" }).await.unwrap();
        }
    });
    let check = |sent: &'static [u8]| {
        TcpCheck::new(|address: &String| Some(address.clone())).send(sent).expect("pong")
    };
    check(b"ping").ask(address.clone()).await.unwrap();
    check(b"pang").ask(address).await.unwrap_err();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    TcpCheck::new(|address: &String| Some(address.clone())).ask(closed).await.unwrap_err();
}

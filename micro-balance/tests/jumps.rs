//! A clock that jumps by hours, days or years between two polls, as after a laptop's sleep: whatever was waited for is over, nothing
//! of it is left, and all goes on as if nothing had been.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use micro_balance::{
    Balance, Ejection, Latency, State as Endpoint, SuccessRate,
    breaker::{BreakerLayer, Rate, State},
    eligible::{Priority, SlowStart},
    failfast::FailfastLayer,
    health::HealthCheck,
    limit::{Aimd, Gradient, Gradient2, LimitLayer, Vegas},
    policy::{PeakEwma, Policy, RoundRobin},
    throttle::ThrottleLayer,
    timeout::TimeoutLayer,
};
use support::{FAST, Mood, fakes, settle};
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, assert_ready_err, task};
use tower::{ServiceBuilder, ServiceExt};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

async fn jumps(policy: impl Policy, jump: Duration) {
    let (fakes, _hand, changes) = fakes(["a", "b", "c"], FAST);
    let ejection = Ejection::default()
        .consecutive_failures(2)
        .success_rate(SuccessRate::default())
        .latency(Latency::default());
    let balance: Balance<_, (), _> = Balance::builder(changes)
        .policy(policy)
        .ejection(ejection)
        .slow_start(SlowStart::new(1_000 * MS))
        .priority(Priority::grpc())
        .health_check(HealthCheck::default(), |_| std::future::ready(Ok(())))
        .drain(1_000 * MS)
        .build();
    let limits = [
        LimitLayer::new(9).queue(9, 1_000 * MS),
        LimitLayer::adaptive(Aimd::default()),
        LimitLayer::adaptive(Vegas::default()),
        LimitLayer::adaptive(Gradient::default()),
        LimitLayer::adaptive(Gradient2::default()),
    ];
    let failfast = FailfastLayer::new(1_000 * MS);
    let rate = Rate::exact(0.5, 1_000 * MS).unwrap();
    let breaker = BreakerLayer::new().success_rate(rate);
    let throttle = ThrottleLayer::new();
    let [one, two, three, four, five] = &limits;
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::per_call(2_000 * MS))
        .layer(&throttle)
        .layer(&failfast)
        .layer((one, two, three))
        .layer((four, five))
        .layer(&breaker)
        .service(balance.clone());
    for _ in 0..5 {
        sleep(200 * MS).await;
        for _ in 0..20 {
            service.clone().oneshot(()).await.unwrap();
        }
        // Some fail, some never end, and then the machine sleeps.
        fakes[0].set(Mood::Fails(MS));
        fakes[1].set(Mood::Silent);
        let mut calls: Vec<_> = (0..6).map(|_| task::spawn(service.clone().oneshot(()))).collect();
        let waits: Vec<_> =
            calls.iter_mut().filter_map(|call| call.poll().is_pending().then_some(call)).collect();
        advance(jump).await;
        for call in waits {
            let _ = std::hint::black_box(call.poll());
        }
        drop(calls);
        fakes.iter().for_each(|fake| fake.set(FAST));
        // Ejected ones come back, and whatever is open closes, as fast as ever.
        for _ in 0..200 {
            sleep(100 * MS).await;
            let _ = service.clone().oneshot(()).await;
        }
        let views = balance.endpoints();
        assert!(views.iter().all(|view| (view.in_flight, view.state) == (0, Endpoint::Ready)), "{views:?}");
        assert_eq!((breaker.state(), failfast.waiting()), (State::Closed, 0));
        assert!(limits.iter().all(|limit| (limit.in_flight(), limit.waiting()) == (0, 0)), "{limits:?}");
        assert!(limits.iter().all(|limit| limit.limit() > 1), "{limits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_leaves_nothing_behind_and_nobody_out() {
    for jump in [HOUR, 12 * HOUR, 20 * HOUR, 24 * 400 * HOUR] {
        jumps(RoundRobin::new(), jump).await;
        jumps(PeakEwma::new(), jump).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_the_clock_jumps_has_waited_long_enough() {
    let (_fakes, _hand, changes) = fakes(["a"], Mood::Connecting);
    let balance: Balance<_, ()> = Balance::builder(changes).build();
    settle().await;
    let mut call = task::spawn(balance.clone().oneshot(()));
    assert_pending!(call.poll());
    advance(12 * HOUR).await;
    settle().await;
    assert_ready_err!(call.poll());
}

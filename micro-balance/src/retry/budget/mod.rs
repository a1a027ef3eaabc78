//! Limits retries to a share of the traffic, so that they never become the outage.

mod active;
mod tokens;
mod window;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use self::{active::Active, tokens::Tokens, window::Window};
use crate::setting::InvalidSetting;

/// How many retries may be sent. Clones share one budget.
///
/// Without a budget, three attempts a call triple the load of a service that is overloaded already. The
/// default adds at most 10 % and 5 retries a second, over any few seconds.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::retry::Budget;
///
/// let budget = Budget::new(0.5, 0, Duration::from_secs(10))?;
/// (0..10).for_each(|_| budget.deposit());
/// assert_eq!(budget.balance(), 5);
/// assert!(budget.withdraw());
/// assert_eq!(budget.balance(), 4);
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    kind: Arc<Kind>,
}

#[derive(Debug)]
enum Kind {
    Window(Window),
    Tokens(Tokens),
    Active(Active),
    Endless,
}

impl Default for Budget {
    /// 10 % of the requests of the last 2 s, and 5 a second more.
    ///
    /// Finagle and linkerd take 20 % of 10 s and 10 a second. What a good minute has earned then makes the first
    /// seconds of an outage worse by more than half; this keeps them under a fifth from 200 requests a second on.
    fn default() -> Self {
        Self::new(0.1, 5, Duration::from_secs(2)).expect("the defaults are within the limits")
    }
}

impl Budget {
    /// Allows `ratio` retries per request and `min_per_second` more; both expire after `ttl`.
    ///
    /// The rule of Finagle and linkerd: each request deposits `ratio` of a token, each retry takes a whole
    /// one, <https://finagle.github.io/blog/2016/02/08/retry-budgets/>.
    ///
    /// # Errors
    ///
    /// When `ratio` is not in 0 to 10, `min_per_second` exceeds a million or `ttl` is not in 1 s to 60 s.
    pub fn new(ratio: f64, min_per_second: u32, ttl: Duration) -> Result<Self, InvalidSetting> {
        Ok(Self::of(Kind::Window(Window::new(ratio, min_per_second, ttl)?)))
    }

    /// Allows retries while more than half of `max_tokens` is left: a failure costs one token, a success
    /// earns `token_ratio`.
    ///
    /// The throttle of gRPC, <https://github.com/grpc/proposal/blob/master/A6-client-retries.md>.
    ///
    /// # Errors
    ///
    /// When `max_tokens` is not in 1 to 1000 or `token_ratio` is less than a thousandth.
    pub fn throttle(max_tokens: u32, token_ratio: f64) -> Result<Self, InvalidSetting> {
        Ok(Self::of(Kind::Tokens(Tokens::new(max_tokens, token_ratio)?)))
    }

    /// Allows as many retries at once as are `percent` of the requests under way, and always `min`.
    ///
    /// The retry budget of Envoy's circuit breakers, whose own defaults are 20 % and 3.
    ///
    /// # Errors
    ///
    /// When `percent` is not in 0 to 100.
    pub fn concurrent(percent: f64, min: u32) -> Result<Self, InvalidSetting> {
        Ok(Self::of(Kind::Active(Active::new(percent, min)?)))
    }

    /// Allows every retry, for where something else limits them.
    pub fn endless() -> Self {
        Self::of(Kind::Endless)
    }

    fn of(kind: Kind) -> Self {
        Self { kind: Arc::new(kind) }
    }

    /// Notes a request; pair it with [`close`](Self::close) when the budget is a concurrent one.
    pub fn deposit(&self) {
        self.deposit_at(Instant::now());
    }

    /// Notes a request that begins `now`, for callers who have read the clock already.
    pub(crate) fn deposit_at(&self, now: Instant) {
        match &*self.kind {
            Kind::Window(window) => window.deposit(now),
            Kind::Active(active) => active.open(),
            Kind::Tokens(_) | Kind::Endless => {}
        }
    }

    /// Takes what one retry costs, or says that there is not enough.
    pub fn withdraw(&self) -> bool {
        match &*self.kind {
            Kind::Window(window) => window.withdraw(),
            Kind::Active(active) => active.retry(),
            Kind::Tokens(tokens) => tokens.failed(),
            Kind::Endless => true,
        }
    }

    /// Takes what one more retry costs of a request whose last one has ended, or says that there is not enough.
    pub(crate) fn withdraw_next(&self) -> bool {
        match &*self.kind {
            Kind::Active(active) => active.retry_next(),
            Kind::Window(_) | Kind::Tokens(_) | Kind::Endless => self.withdraw(),
        }
    }

    /// Takes what a request costs that is sent before any other has failed, or says that there is not enough.
    ///
    /// The throttle takes nothing beforehand: whichever attempts fail cost a token each.
    pub(crate) fn withdraw_ahead(&self) -> bool {
        match &*self.kind {
            Kind::Tokens(tokens) => tokens.are_enough(),
            Kind::Window(_) | Kind::Active(_) | Kind::Endless => self.withdraw(),
        }
    }

    /// Gives back what was taken for a retry that was not sent after all.
    pub fn refund(&self) {
        match &*self.kind {
            Kind::Window(window) => window.refund(),
            Kind::Active(active) => active.end(1),
            // The token was the price of the failure, which did happen.
            Kind::Tokens(_) | Kind::Endless => {}
        }
    }

    /// Notes a success.
    pub fn succeeded(&self) {
        if let Kind::Tokens(tokens) = &*self.kind {
            tokens.succeeded();
        }
    }

    /// Notes a failure that no retry is asked for: one that is not to be repeated, or that a hedge may make good.
    pub fn failed(&self) {
        if let Kind::Tokens(tokens) = &*self.kind {
            tokens.failed();
        }
    }

    /// Notes the end of a request that sent `retries`.
    pub fn close(&self, retries: u32) {
        if let Kind::Active(active) = &*self.kind {
            active.close(retries);
        }
    }

    /// How many retries could be sent now, if nothing else happened.
    pub fn balance(&self) -> u64 {
        match &*self.kind {
            Kind::Window(window) => window.balance(),
            Kind::Active(active) => active.balance().into(),
            Kind::Tokens(tokens) => tokens.balance(),
            Kind::Endless => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::time::advance;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn withdrawals(budget: &Budget) -> u32 {
        std::iter::repeat_with(|| budget.withdraw()).take_while(|&paid| paid).map(|_| 1).sum()
    }

    fn finagle() -> Value {
        let table = include_str!("../../../tests/data/finagle.json");
        serde_json::from_str::<Value>(table).unwrap()["retry_budget"].take()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_paid_with_earnings_that_are_forgotten_since_leaves_nothing_and_not_a_debt() {
        let budget = Budget::new(0.5, 0, TTL).unwrap();
        (0..10).for_each(|_| budget.deposit());
        advance(TTL / 2).await;
        assert_eq!((withdrawals(&budget), budget.balance()), (5, 0));
        advance(TTL * 3 / 4).await;
        assert_eq!((budget.balance(), budget.withdraw()), (0, false));
        advance(TTL).await;
        (0..10).for_each(|_| budget.deposit());
        assert_eq!(budget.balance(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_requests_earn_their_share_to_within_one_retry() {
        for row in finagle()["cases"].as_array().unwrap() {
            let number = |name: &str| row[name].as_u64();
            let budget = Budget::new(row["percent"].as_f64().unwrap(), 0, TTL).unwrap();
            (0..number("requests").unwrap()).for_each(|_| budget.deposit());
            let expected = number("expect_retries").or(number("balance")).unwrap();
            let tolerance = number("tolerance").unwrap_or(0);
            assert!(budget.balance().abs_diff(expected) <= tolerance, "{row}: {}", budget.balance());
            assert!(u64::from(withdrawals(&budget)).abs_diff(expected) <= tolerance, "{row}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_is_the_minimum_times_the_lifetime_and_comes_back() {
        let defaults = &finagle()["defaults"];
        assert_eq!(defaults["ttl_s"], TTL.as_secs());
        let budget = Budget::new(0.0, defaults["min_retries_per_sec"].as_u64().unwrap() as u32, TTL).unwrap();
        assert_eq!(withdrawals(&budget), 100);
        advance(TTL - Duration::from_millis(1)).await;
        assert_eq!(withdrawals(&budget), 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!(withdrawals(&budget), 100);
        for seconds in finagle()["bounds"]["ttl_s"].as_array().unwrap() {
            assert!(Budget::new(0.2, 10, Duration::from_secs(seconds.as_u64().unwrap())).is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_earned_expires_a_tenth_of_the_lifetime_at_a_time() {
        let budget = Budget::new(1.0, 0, TTL).unwrap();
        for _ in 0..10 {
            budget.deposit();
            advance(Duration::from_secs(1)).await;
        }
        let mut left = Vec::new();
        for _ in 0..10 {
            left.push(budget.balance());
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(left, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        advance(TTL * 1000).await;
        budget.deposit();
        assert_eq!(budget.balance(), 1);
    }

    /// Tower's tests of its budget: d is a deposit, y and n whether there is a retry, a number the milliseconds that pass.
    #[tokio::test(start_paused = true)]
    async fn towers_rows_come_out() {
        for (ratio, per_second, steps) in [
            (1.0, 0, "n"),
            (1.0, 0, "d 3000 n"),
            (0.5, 0, "d d 901 y 2001 d 301 d 801 d y"),
            (1.0, 5, "y y y y y n"),
        ] {
            let budget = Budget::new(ratio, per_second, Duration::from_secs(1)).unwrap();
            for step in steps.split(' ') {
                match step {
                    "d" => budget.deposit(),
                    "y" | "n" => assert_eq!(budget.withdraw(), step == "y", "{steps}"),
                    time => advance(Duration::from_millis(time.parse().unwrap())).await,
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn clones_share_and_a_refund_makes_whole() {
        let budget = Budget::new(0.5, 0, TTL).unwrap();
        (0..4).for_each(|_| budget.clone().deposit());
        assert_eq!(withdrawals(&budget), 2);
        budget.refund();
        assert_eq!(withdrawals(&budget), 1);
    }

    #[test]
    fn no_deposit_is_lost_and_no_token_paid_twice_between_threads() {
        // Half of the deposits cross the turn of a slot, since the clock is the real one.
        let budget = Budget::new(0.5, 0, Duration::from_secs(60)).unwrap();
        let paid: u32 = std::thread::scope(|scope| {
            let work = || {
                (0..10_000).for_each(|_| budget.deposit());
                withdrawals(&budget)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(paid + withdrawals(&budget), 20_000);
    }

    #[test]
    fn the_throttle_follows_grpc_go_call_for_call() {
        let table: Value = serde_json::from_str(include_str!("../../../tests/data/grpc_retry.json")).unwrap();
        let table = &table["throttling"];
        let number = |value: &Value| value.as_f64().unwrap();
        let server_ok: Vec<_> =
            table["server_ok_at_call_index"].as_array().unwrap().iter().map(number).collect();
        let throttle =
            Tokens::new(number(&table["max_tokens"]) as u32, number(&table["token_ratio"])).unwrap();
        let mut call = 0.0;
        for result in table["results"].as_array().unwrap() {
            let mut attempt = 1.0;
            let ok = loop {
                let ok = server_ok.contains(&call);
                call += 1.0;
                if ok {
                    throttle.succeeded();
                    break true;
                }
                if !throttle.failed() || attempt == number(&table["max_attempts"]) {
                    break false;
                }
                attempt += 1.0;
            };
            assert_eq!(ok, result["code"] == "OK", "{result}");
            assert_eq!(
                (call - 1.0, throttle.left()),
                (number(&result["last_call_index"]), number(&result["tokens_after"]))
            );
        }
    }

    /// gRPC core's `ServerRetryThrottleData`: of four tokens, where a success earns 1.6, s is a success, y a failure that may be
    /// repeated and n one that may not.
    #[test]
    fn the_throttle_follows_grpc_core() {
        let budget = Budget::throttle(4, 1.6).unwrap();
        for (place, step) in "y s y n n n n s s y n s n s y".split(' ').enumerate() {
            match step {
                "s" => budget.succeeded(),
                _ => assert_eq!(budget.withdraw(), step == "y", "step {place}"),
            }
        }
    }

    #[test]
    fn the_throttle_follows_grpc_java() {
        let table: Value =
            serde_json::from_str(include_str!("../../../tests/data/grpc_java_retry.json")).unwrap();
        let table = &table["throttle"];
        let tokens = table["max_tokens"].as_u64().unwrap() as u32;
        let throttle = Tokens::new(tokens, table["token_ratio"].as_f64().unwrap()).unwrap();
        for (place, step) in table["steps"].as_str().unwrap().split(' ').enumerate() {
            if step.starts_with('F') {
                throttle.failed();
            } else {
                throttle.succeeded();
            }
            assert_eq!(throttle.are_enough(), step.ends_with('+'), "{place}: {step}");
        }
    }

    /// As gRPC takes a ratio: three decimals of it, whichever they are.
    #[test]
    fn a_success_earns_the_thousandths_that_are_said() {
        for thousandths in 1..2000 {
            for more in [0.0, 0.0009] {
                let throttle = Tokens::new(10, f64::from(thousandths) / 1000.0 + more).unwrap();
                (0..4).for_each(|_| assert!(throttle.failed()));
                throttle.succeeded();
                let earned = ((throttle.left() - 6.0) * 1000.0).round();
                assert_eq!(earned, f64::from(thousandths), "{thousandths} and {more}");
            }
        }
    }

    #[test]
    fn a_balance_is_how_many_retries_are_afforded() {
        for (max, failed) in [(1, 0), (2, 0), (3, 0), (9, 0), (10, 0), (10, 3), (10, 5), (10, 9), (1000, 1)] {
            let budget = Budget::throttle(max, 0.1).unwrap();
            (0..failed).for_each(|_| budget.failed());
            let balance = budget.balance();
            assert_eq!(balance, u64::from(withdrawals(&budget)), "{failed} of {max}");
        }
    }

    #[test]
    fn a_long_outage_costs_no_more_than_all_tokens() {
        let budget = Budget::throttle(10, 1.0).unwrap();
        (0..1_000).for_each(|_| budget.failed());
        (0..7).for_each(|_| budget.succeeded());
        assert_eq!(withdrawals(&budget), 1, "7 of 10, less the one that this failure costs");
    }

    #[test]
    fn retries_at_once_are_a_share_of_the_requests_at_once() {
        let budget = Budget::concurrent(20.0, 3).unwrap();
        assert_eq!(withdrawals(&budget), 3);
        (0..25).for_each(|_| budget.deposit());
        assert_eq!(withdrawals(&budget), 2);
        (0..5).for_each(|_| budget.close(1));
        assert_eq!(budget.balance(), 4, "20 % of 20");
    }

    /// `TestTryAcquirePermitAndReleasePermit` of failsafe-go has two retries of one request under way, as it looks at the share
    /// before the retry is counted, and counts it among the requests as well: a half may become two thirds.
    #[test]
    fn no_retry_crosses_the_share_as_failsafes_does() {
        let budget = Budget::concurrent(50.0, 1).unwrap();
        budget.deposit();
        for (refunds, withdrawn) in [(0, 1), (1, 1), (1, 1)] {
            (0..refunds).for_each(|_| budget.refund());
            assert_eq!(withdrawals(&budget), withdrawn);
        }
        (1..4).for_each(|_| budget.deposit());
        assert_eq!(withdrawals(&budget), 1, "two of four");
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_is_a_tenth_of_what_came_in_two_seconds_and_five_a_second() {
        let budget = Budget::default();
        assert_eq!(withdrawals(&budget), 10);
        (0..200).for_each(|_| budget.deposit());
        assert_eq!(withdrawals(&budget), 20);
        advance(Duration::from_secs(2)).await;
        assert_eq!(budget.balance(), 10);
    }

    #[test]
    fn a_retry_in_place_of_one_that_ended_is_refused_where_the_share_has_shrunk_meanwhile() {
        let budget = Budget::concurrent(50.0, 0).unwrap();
        (0..4).for_each(|_| budget.deposit());
        assert_eq!(withdrawals(&budget), 2);
        assert!(budget.withdraw_next(), "one ends as the other begins");
        (0..2).for_each(|_| budget.close(0));
        assert!(!budget.withdraw_next(), "two of two");
        budget.refund();
        assert!(budget.withdraw_next() && !budget.withdraw(), "one of two");
    }

    #[test]
    fn settings_at_their_bounds_work() {
        assert!(Budget::new(10.0, 1_000_000, Duration::from_secs(60)).is_ok());
        assert!(Budget::concurrent(0.0, 0).is_ok() && Budget::concurrent(100.0, 0).is_ok());
        assert!(Budget::throttle(10, 0.001).is_ok() && Budget::throttle(10, 0.0009).is_err());
        let generous = Budget::throttle(10, f64::MAX).unwrap();
        generous.failed();
        generous.succeeded();
        assert_eq!(withdrawals(&generous), 4, "a success makes up for all failures, and no more");
        assert!(Budget::throttle(10, f64::INFINITY).is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        for (ratio, min, ttl) in
            [(f64::NAN, 0, 10), (-0.1, 0, 10), (11.0, 0, 10), (0.2, 2_000_000, 10), (0.2, 0, 0), (0.2, 0, 61)]
        {
            assert!(Budget::new(ratio, min, Duration::from_secs(ttl)).is_err());
        }
        let error = Budget::new(f64::INFINITY, 0, TTL).unwrap_err();
        assert_eq!(error.to_string(), "the ratio of a retry budget is inf, but must be between 0 and 10");
        assert!(Budget::throttle(0, 0.1).is_err() && Budget::throttle(1001, 0.1).is_err());
        assert!(Budget::throttle(10, 0.0).is_err() && Budget::throttle(10, f64::NAN).is_err());
        assert!(Budget::concurrent(100.1, 0).is_err());
    }
}

//! Who is picked: the cheaper of two, but for those that are alike, are looked after, or keep silent.

use super::*;

const PICKS: usize = 12_800;

/// A time after the start.
fn at(ms: u64) -> Moment {
    Moment::MIN.saturating_add(ms * 1_000_000)
}

/// An endpoint that answered so many milliseconds after the start, and took as many.
fn answered(policy: &PeakEwma, took: u64, ms: u64) -> Endpoint {
    let endpoint = endpoint(policy);
    record(policy, &endpoint, Duration::from_millis(took), at(ms).get());
    endpoint
}

/// How often each is picked at this time, where so many picks were turned down before.
fn shares(policy: &PeakEwma, endpoints: &[Endpoint], ms: u64, attempt: u32) -> Vec<usize> {
    let (chance, table) = (Chance::new(7), policy.table(endpoints));
    let mut shares = vec![0; endpoints.len()];
    for _ in 0..PICKS {
        let mut context = Context::new(&chance);
        (context.now, context.attempt) = (Some(at(ms)), attempt);
        shares[policy.pick(&table, endpoints, &context).unwrap()] += 1;
    }
    shares
}

/// Eight, of which the third was avoided from the start and the others answer all the time, until now.
fn with_one_avoided(policy: &PeakEwma, ms: u64) -> Vec<Endpoint> {
    (0..8)
        .map(|index| if index == 2 { answered(policy, 5_000, 0) } else { answered(policy, 10, ms) })
        .collect()
}

#[test]
fn times_are_those_that_are_set() {
    let second = Duration::from_secs(1);
    let policy = PeakEwma::new().decay(2 * second).default_latency(3 * second).penalty(4 * second);
    let timing = policy.timing().unwrap();
    assert_eq!((timing.decay, timing.default_latency, timing.penalty), (2 * second, 3 * second, 4 * second));
    assert!(timing.recovers && !policy.classic().timing().unwrap().recovers);
}

#[test]
fn fewer_than_one_request_in_a_hundred_looks_after_one_that_has_been_silent_for_a_tenth_of_a_second() {
    let policy = PeakEwma::new();
    assert_eq!(shares(&policy, &with_one_avoided(&policy, 95), 95, 0)[2], 0, "it may still be asked");
    // One in 128, if it is among the eight that are drawn of eight.
    let share = PICKS as f64 / 128.0 * (1.0 - 0.875_f64.powi(8));
    let looks = shares(&policy, &with_one_avoided(&policy, 150), 150, 0)[2];
    assert!((looks as f64 - share).abs() < share * 0.3, "{looks} instead of {share}");
    assert_eq!(shares(&policy, &with_one_avoided(&policy, 150), 150, 1)[2], 0, "never by a second try");
    let classic = PeakEwma::new().classic();
    assert_eq!(shares(&classic, &with_one_avoided(&classic, 150), 150, 0)[2], 0, "nor by the textbook");
}

#[test]
fn one_that_is_being_looked_after_is_asked_again_only_if_that_was_in_vain() {
    let policy = PeakEwma::new();
    let endpoints = with_one_avoided(&policy, 6_500);
    endpoints[2].stats().start();
    endpoints[2].stats().owes(at(1_000));
    assert!(endpoints[2].stats().is_overdue(at(6_500).get()));
    assert!(shares(&policy, &endpoints, 6_500, 0)[2] > 0, "five seconds have passed");
    let endpoints = with_one_avoided(&policy, 5_500);
    endpoints[2].stats().start();
    endpoints[2].stats().owes(at(1_000));
    assert_eq!(shares(&policy, &endpoints, 5_500, 0)[2], 0);
}

#[test]
fn who_has_been_silent_longest_of_those_that_are_avoided_is_looked_after_first() {
    let policy = PeakEwma::new();
    let mut endpoints = with_one_avoided(&policy, 900);
    endpoints[5] = answered(&policy, 500, 300);
    // As often as if it were the only one, and the other only where this one is not drawn.
    let share = PICKS as f64 / 128.0 * (1.0 - 0.875_f64.powi(8));
    let looks = shares(&policy, &endpoints, 900, 0)[2];
    assert!((looks as f64 - share).abs() < share * 0.3, "{looks} instead of {share}");
}

#[test]
fn one_pick_in_sixteen_goes_to_the_dearer_of_two_that_has_been_silent_for_a_second() {
    let policy = PeakEwma::new();
    let pair = |ms| [answered(&policy, 5_000, 0), answered(&policy, 10, ms)];
    let looks = |ms| shares(&policy, &pair(ms), ms, 0)[0];
    // Of two, whoever is silent is drawn: 99.6 % of one in 128.
    assert!(looks(900).abs_diff(PICKS / 128) < 30, "{}", looks(900));
    assert!(looks(1_100).abs_diff(PICKS / 16) < 80, "{}", looks(1_100));
    assert_eq!(shares(&policy, &pair(1_100), 1_100, 1)[0], 0, "never by a second try");
}

#[test]
fn of_two_whose_costs_differ_by_less_than_a_third_the_less_busy_is_picked() {
    let policy = PeakEwma::new();
    // With a millisecond more for each: 26 ms, and 13 ms twice or a little less.
    let pair = |took, busy| {
        let endpoints = [answered(&policy, took, 0), answered(&policy, 12, 0)];
        (0..busy).for_each(|_| endpoints[1].stats().start());
        endpoints
    };
    assert_eq!(shares(&policy, &pair(26, 1), 0, 1), [PICKS, 0], "27 ms beside 2 * 13 ms");
    assert_eq!(shares(&policy, &pair(33, 1), 0, 1), [PICKS, 0], "34 ms beside 26 ms");
    assert_eq!(shares(&policy, &pair(34, 1), 0, 1), [0, PICKS], "35 ms are more than a third more");
    assert_eq!(shares(&policy, &pair(19, 1), 0, 1), [PICKS, 0], "20 ms beside 26 ms");
    // As busy as each other they are picked as they are drawn.
    let shares_of_even = shares(&policy, &pair(14, 0), 0, 1);
    assert!(shares_of_even[0].abs_diff(PICKS / 2) < 300, "{shares_of_even:?}");
    let classic = PeakEwma::new().classic();
    assert_eq!(shares(&classic, &pair(26, 1), 0, 1), [0, PICKS], "the textbook heeds every difference");
}

#[test]
fn latencies_of_much_less_than_a_millisecond_are_all_alike() {
    let policy = PeakEwma::new();
    let pair = [100, 400].map(|micros| {
        let endpoint = endpoint(&policy);
        record(&policy, &endpoint, Duration::from_micros(micros), at(0).get());
        endpoint
    });
    let shares_of_even = shares(&policy, &pair, 0, 1);
    assert!(shares_of_even[0].abs_diff(PICKS / 2) < 300, "{shares_of_even:?}");
    assert_eq!(shares(&PeakEwma::new().classic(), &pair, 0, 1), [PICKS, 0]);
}

#[test]
fn one_that_keeps_a_request_waiting_costs_its_silence_as_soon_as_that_is_longer_than_its_latency() {
    let policy = PeakEwma::new();
    let silent = answered(&policy, 10, 0);
    silent.stats().start();
    silent.stats().owes(at(0));
    let cost = |policy: &PeakEwma, ms| f64::from(policy.cost(&silent, at(ms).get(), 1.0)) / 1e6;
    assert!(
        (cost(&policy, 8) - 22.0).abs() < 0.1,
        "twice the latency and a millisecond: {}",
        cost(&policy, 8)
    );
    assert!((cost(&policy, 30) - 62.0).abs() < 0.1, "twice the silence: {}", cost(&policy, 30));
    let classic = PeakEwma::new().classic();
    assert!((cost(&classic, 30) - 20.0).abs() < 0.1, "{}", cost(&classic, 30));
    silent.stats().owes_no_more();
    assert!((cost(&policy, 30) - 22.0).abs() < 0.1, "{}", cost(&policy, 30));
}

#[test]
fn half_warm_costs_twice_as_much() {
    let policy = PeakEwma::new();
    let endpoint = answered(&policy, 10, 0);
    assert_eq!(policy.cost(&endpoint, 0, 0.5), 2.0 * policy.cost(&endpoint, 0, 1.0));
}

//! A success rate that has to be kept.

use std::time::Duration;

use tokio::time::Instant;

use crate::{setting::InvalidSetting, sliding::Sliding};

/// The part of requests that has to go well: as a moving average over the last requests or the last while, as in Finagle's
/// failure accrual, <https://twitter.github.io/finagle/guide/Clients.html#failure-accrual>, or as it is counted.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::breaker::Rate;
///
/// let most_of_the_last_half_minute = Rate::within(0.8, Duration::from_secs(30))?.min_requests(20);
/// # Ok::<(), micro_balance::InvalidSetting>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Rate {
    required: f64,
    window: Window,
    least: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Window {
    Requests(u32),
    Time(Duration),
    Exact(Duration),
}

impl Rate {
    /// At least `required` on average over the last `requests`; nothing is judged before there were so many.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `required` is from 0 to 1, and there is a request.
    pub fn of_requests(required: f64, requests: u32) -> Result<Self, InvalidSetting> {
        if requests == 0 {
            return Err(InvalidSetting::new(
                "the window of a success rate",
                requests,
                "at least one request",
            ));
        }
        Self::new(required, Window::Requests(requests), 0)
    }

    /// At least `required` on average over the last `window`; nothing is judged before it has passed once, nor by fewer than
    /// 5 requests in a window.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless `required` is from 0 to 1, and there is time.
    pub fn within(required: f64, window: Duration) -> Result<Self, InvalidSetting> {
        if window.is_zero() {
            return Err(InvalidSetting::new("the window of a success rate", window, "more than no time"));
        }
        Self::new(required, Window::Time(window), 5)
    }

    /// At least `required` of the requests of the last `window` as they are counted, by its tenths and not on average, as soon
    /// as there are 5: as linkerd's breaker goes, <https://linkerd.io/2/reference/circuit-breaking/>.
    ///
    /// # Errors
    ///
    /// As [`Rate::within`].
    pub fn exact(required: f64, window: Duration) -> Result<Self, InvalidSetting> {
        Ok(Self { window: Window::Exact(window), ..Self::within(required, window)? })
    }

    fn new(required: f64, window: Window, least: u32) -> Result<Self, InvalidSetting> {
        if !(0.0..=1.0).contains(&required) {
            return Err(InvalidSetting::new("a success rate", required, "from 0 to 1"));
        }
        Ok(Self { required, window, least })
    }

    /// How many requests there have to be in a window of time; 5 unless given.
    pub fn min_requests(mut self, requests: u32) -> Self {
        self.least = requests;
        self
    }
}

/// The average as it is.
#[derive(Debug)]
pub(super) struct Average {
    rate: Rate,
    began: Instant,
    requests: u64,
    /// The average, and where in its window that was: a number of requests, or seconds.
    last: Option<(f64, f64)>,
    recent: Option<Sliding<2>>,
}

const ALL: usize = 0;
const WELL: usize = 1;

impl Average {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let recent = match rate.window {
            Window::Requests(_) => None,
            Window::Time(window) | Window::Exact(window) => Some(Sliding::new(window)),
        };
        Self { rate, began: now, requests: 0, last: None, recent }
    }

    /// Takes how a request went, and says whether that is too low a rate.
    pub(super) fn is_too_low_after(&mut self, well: bool, now: Instant) -> bool {
        self.requests += 1;
        let (all, good) = self.recent.as_ref().map_or((i64::MAX, 0), |recent| {
            recent.add(ALL, 1, now);
            recent.put(WELL, well.into());
            (recent.sum(ALL), recent.sum(WELL))
        });
        let age = now.saturating_duration_since(self.began);
        let (full, rate) = match self.rate.window {
            Window::Requests(requests) => {
                (self.requests >= requests.into(), self.average(well, self.requests as f64, requests.into()))
            }
            Window::Time(window) => {
                (age >= window, self.average(well, age.as_secs_f64(), window.as_secs_f64()))
            }
            Window::Exact(_) => (true, good as f64 / all as f64),
        };
        full && all >= self.rate.least.into() && rate < self.rate.required
    }

    fn average(&mut self, well: bool, at: f64, window: f64) -> f64 {
        let sample = if well { 1.0 } else { 0.0 };
        let average = self.last.map_or(sample, |(average, last)| {
            let keep = ((last - at) / window).exp();
            average * keep + sample * (1.0 - keep)
        });
        self.last = Some((average, at));
        average
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn second() -> Duration {
        Duration::from_secs(1)
    }

    /// On which failure after so many successes, one of each a second, the average is too low.
    fn falls(rate: Rate, successes: u32) -> u32 {
        let mut now = Instant::now();
        let mut average = Average::new(rate, now);
        for _ in 0..successes {
            now += second();
            assert!(!average.is_too_low_after(true, now));
        }
        let mut fails = || {
            now += second();
            average.is_too_low_after(false, now)
        };
        (1..).find(|_| fails()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_average_is_too_low_when_finagles_is() {
        let table: Value =
            serde_json::from_str(include_str!("../../tests/data/outlier_detection.json")).unwrap();
        for row in table["finagle_success_rate"].as_array().unwrap() {
            let required = row["required"].as_f64().unwrap();
            let rate = match row["window_s"].as_u64() {
                Some(window) => Rate::within(required, Duration::from_secs(window)),
                None => Rate::of_requests(required, row["window_requests"].as_u64().unwrap() as u32),
            };
            let (successes, expected) = match row["trips_on_failure"].as_u64() {
                Some(failure) => (100, failure as u32),
                None => (
                    0,
                    row["out"].as_array().unwrap().iter().take_while(|out| out.is_null()).count() as u32 + 1,
                ),
            };
            assert_eq!(falls(rate.unwrap(), successes), expected, "{row}");
        }
    }

    /// Its tests: a threshold, and which of the failures that come after so many successes is the first to be too many.
    #[tokio::test(start_paused = true)]
    async fn an_exact_rate_is_too_low_when_linkerds_is() {
        for (required, least, successes, failure) in [(0.5, 0, 0, 1), (1.0, 4, 3, 1), (0.5, 5, 0, 5)] {
            for apart in [Duration::ZERO, second()] {
                let rate = Rate::exact(required, 10 * second()).unwrap().min_requests(least);
                let mut now = Instant::now();
                let mut average = Average::new(rate, now);
                let mut goes = |well| {
                    let low = average.is_too_low_after(well, now);
                    now += apart;
                    low
                };
                assert!((0..successes).all(|_| !goes(true)));
                assert_eq!((1..).find(|_| goes(false)), Some(failure), "{rate:?}, {apart:?} apart");
                // They are forgotten after the window.
                now += 11 * second();
                assert!(!average.is_too_low_after(true, now));
            }
        }
    }

    /// `data/breakers.json`, `windows`: theirs forgets by seconds, ours by tenths of the window.
    #[tokio::test(start_paused = true)]
    async fn what_counts_in_a_window_of_time_is_what_counts_by_resilience4j() {
        let table: Value = serde_json::from_str(include_str!("../../tests/data/breakers.json")).unwrap();
        let table = &table["windows"];
        let window = Duration::from_secs(table["window_s"].as_u64().unwrap());
        for case in table["cases"].as_array().unwrap() {
            let mut now = Instant::now();
            let mut average = Average::new(Rate::exact(0.0, window).unwrap(), now);
            for call in case.as_array().unwrap() {
                now += Duration::from_millis(call[0].as_u64().unwrap());
                average.is_too_low_after(call[1].as_bool().unwrap(), now);
                let recent = average.recent.as_ref().unwrap();
                let counted = (recent.sum(ALL), recent.sum(WELL));
                assert_eq!(counted, (call[2].as_i64().unwrap(), call[3].as_i64().unwrap()), "{call}: {case}");
            }
        }
    }

    /// Rows of Polly's tests: so many requests, how many of them fail, and whether a tenth is too many failures among at least
    /// ten. Theirs, resilience4j's and failsafe's take exactly a tenth for too many; Finagle's and linkerd's do not.
    #[tokio::test(start_paused = true)]
    async fn exactly_the_rate_is_enough() {
        for (requests, failures, low) in
            [(10, 0, false), (10, 1, false), (10, 2, true), (11, 2, true), (9, 1, false), (9, 9, false)]
        {
            let now = Instant::now();
            let rate = Rate::exact(0.9, 10 * second()).unwrap().min_requests(10);
            let mut average = Average::new(rate, now);
            let last = (0..requests).map(|place| average.is_too_low_after(place >= failures, now)).last();
            assert_eq!(last, Some(low), "{failures} of {requests}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_requests_do_not_judge() {
        let rate = Rate::within(0.8, 30 * second()).unwrap();
        let mut now = Instant::now();
        let mut average = Average::new(rate, now);
        // One a minute: a single failure weighs as much as all that came before it.
        for well in [true, true, true, false, false] {
            now += 60 * second();
            assert!(!average.is_too_low_after(well, now));
        }
        let failures = (1..).find(|_| average.is_too_low_after(false, now)).unwrap();
        assert_eq!(failures, 4, "and the one before that are five in half a minute");
        assert!(Rate::within(1.1, second()).is_err() && Rate::within(f64::NAN, second()).is_err());
        assert!(Rate::within(0.5, Duration::ZERO).is_err() && Rate::of_requests(0.5, 0).is_err());
    }
}

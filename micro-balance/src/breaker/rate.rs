//! A success rate that has to be kept.

use std::time::Duration;

use tokio::time::Instant;

use crate::{setting::InvalidSetting, sliding::Sliding};

/// The part of requests that has to go well, as a moving average: over the last requests, or over the last while.
///
/// Finagle's failure accrual,
/// <https://twitter.github.io/finagle/guide/Clients.html#failure-accrual>.
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
    recent: Option<Sliding<1>>,
}

impl Average {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let recent = match rate.window {
            Window::Requests(_) => None,
            Window::Time(window) => Some(Sliding::new(window)),
        };
        Self { rate, began: now, requests: 0, last: None, recent }
    }

    /// Takes how a request went, and says whether that is too low an average.
    pub(super) fn is_too_low_after(&mut self, well: bool, now: Instant) -> bool {
        self.requests += 1;
        let (at, window) = match self.rate.window {
            Window::Requests(requests) => (self.requests as f64, f64::from(requests)),
            Window::Time(window) => {
                (now.saturating_duration_since(self.began).as_secs_f64(), window.as_secs_f64())
            }
        };
        let sample = if well { 1.0 } else { 0.0 };
        let average = self.last.map_or(sample, |(average, last)| {
            let keep = ((last - at) / window).exp();
            average * keep + sample * (1.0 - keep)
        });
        self.last = Some((average, at));
        let recent = self.recent.as_ref().map_or(i64::MAX, |recent| {
            recent.add(0, 1, now);
            recent.sum(0)
        });
        at >= window && recent >= self.rate.least.into() && average < self.rate.required
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

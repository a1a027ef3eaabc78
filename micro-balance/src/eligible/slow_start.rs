//! Less weight for an endpoint that is new.

use std::time::Duration;

use crate::setting::InvalidSetting;

/// Gives an endpoint that has just become ready a part of its weight, which grows to all of it over a window.
///
/// The part is `(age / window) ^ (1 / aggression)`, at least `min_percent`. For servers that must fill caches
/// or compile before they are fast. Policies that weigh use the weight so reduced; those that measure load or
/// latency take the endpoint for busier by as much. A connection that was lost and refused for a while
/// starts anew, as a new process is likely behind it. Where endpoints are checked, one starts whenever checks find it
/// well that were not content before. Envoy's slow start,
/// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start>.
///
/// ```
/// use std::time::Duration;
/// use micro_balance::eligible::SlowStart;
///
/// let slow_start = SlowStart::new(Duration::from_secs(60));
/// assert_eq!(slow_start.factor(Duration::from_secs(12)), 0.2);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct SlowStart {
    window: Duration,
    aggression: f64,
    min: f64,
}

/// Below this age all are alike, so that the part is never nothing.
const LEAST_AGE: Duration = Duration::from_secs(1);

impl SlowStart {
    /// Grows in proportion to the age over `window`, from a tenth.
    pub fn new(window: Duration) -> Self {
        Self { window, aggression: 1.0, min: 0.1 }
    }

    /// Grows faster at first than later: by the root of this order. Below 1 it is the other way round.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] unless it is above 0.
    pub fn aggression(mut self, aggression: f64) -> Result<Self, InvalidSetting> {
        if !(aggression > 0.0 && aggression.is_finite()) {
            return Err(InvalidSetting::new("the aggression of slow start", aggression, "above 0"));
        }
        self.aggression = aggression;
        Ok(self)
    }

    /// Starts from `percent` of the weight; 10 unless given.
    pub fn min_percent(mut self, percent: u32) -> Self {
        self.min = f64::from(percent.min(100)) / 100.0;
        self
    }

    /// The part of its weight that an endpoint of this age has.
    pub fn factor(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let part = age.max(LEAST_AGE).as_secs_f64() / self.window.as_secs_f64();
        part.powf(1.0 / self.aggression).max(self.min).min(1.0)
    }

    /// How often weights are to be looked at while an endpoint is new.
    pub(crate) fn step(&self) -> Duration {
        (self.window / 100).max(Duration::from_millis(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_never_shrinks_with_age_and_ends_at_all_of_it() {
        for aggression in [0.5, 1.0, 1.5, 3.0] {
            let slow_start =
                SlowStart::new(Duration::from_secs(10)).aggression(aggression).unwrap().min_percent(5);
            let factors: Vec<_> =
                (0..120).map(|tenths| slow_start.factor(Duration::from_millis(tenths * 100))).collect();
            assert!(factors.is_sorted() && factors[0] >= 0.05 && factors[99] < 1.0, "{factors:?}");
            assert!(factors[100..].iter().all(|&factor| factor == 1.0));
        }
        let slow_start = SlowStart::new(Duration::from_secs(10)).min_percent(0);
        assert_eq!(
            slow_start.factor(Duration::ZERO),
            slow_start.factor(LEAST_AGE),
            "nobody has no weight at all"
        );
        assert!(SlowStart::new(LEAST_AGE).aggression(0.0).is_err());
        assert!(SlowStart::new(LEAST_AGE).aggression(f64::NAN).is_err());
        assert!(SlowStart::new(LEAST_AGE).aggression(f64::INFINITY).is_err());
    }
}

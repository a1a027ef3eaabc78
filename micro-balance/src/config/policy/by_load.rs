//! Policies that go by how endpoints do, or use a few of them.

use std::time::Duration;

use serde::Deserialize;

use super::values::{penalty, probes, quantile};
use crate::{
    config::maybe_duration,
    policy::{Aperture, OrcaWeighted, PeakEwma, Prequal, RandomAperture},
    setting::InvalidSetting,
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Latency {
    #[serde(deserialize_with = "maybe_duration")]
    decay: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    default_latency: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    penalty: Option<Duration>,
    classic: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Part {
    instance: u32,
    peers: u32,
    least: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Few {
    least: Option<usize>,
    low: Option<f64>,
    high: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Reports {
    #[serde(deserialize_with = "maybe_duration")]
    blackout: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    expiration: Option<Duration>,
    #[serde(deserialize_with = "maybe_duration")]
    update: Option<Duration>,
    metrics: Vec<String>,
    #[serde(deserialize_with = "penalty")]
    penalty: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Probes {
    #[serde(deserialize_with = "probes")]
    probes: Option<u32>,
    #[serde(deserialize_with = "quantile")]
    quantile: Option<f64>,
}

impl Latency {
    pub(super) fn build(&self) -> PeakEwma {
        let mut policy = PeakEwma::new();
        if let Some(decay) = self.decay {
            policy = policy.decay(decay);
        }
        if let Some(latency) = self.default_latency {
            policy = policy.default_latency(latency);
        }
        if let Some(penalty) = self.penalty {
            policy = policy.penalty(penalty);
        }
        if self.classic { policy.classic() } else { policy }
    }
}

impl Part {
    pub(super) fn build(&self) -> Result<Aperture, InvalidSetting> {
        Ok(Aperture::new(self.instance, self.peers)?.least(self.least.unwrap_or(12)))
    }
}

impl Few {
    pub(super) fn build(&self) -> Result<RandomAperture, InvalidSetting> {
        let band = (self.low.unwrap_or(0.875), self.high.unwrap_or(1.125));
        RandomAperture::new().least(self.least.unwrap_or(1)).band(band.0, band.1)
    }
}

impl Reports {
    pub(super) fn build(&self) -> Result<OrcaWeighted, InvalidSetting> {
        let mut policy = OrcaWeighted::new().penalty(self.penalty.unwrap_or(1.0))?;
        if let Some(blackout) = self.blackout {
            policy = policy.blackout(blackout);
        }
        if let Some(expiration) = self.expiration {
            policy = policy.expiration(expiration);
        }
        if let Some(update) = self.update {
            policy = policy.update(update);
        }
        Ok(self.metrics.iter().fold(policy, |policy, name| policy.metric(name)))
    }
}

impl Probes {
    pub(super) fn build(&self) -> Result<Prequal, InvalidSetting> {
        Prequal::new().probes(self.probes.unwrap_or(3))?.quantile(self.quantile.unwrap_or(0.84))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::policy::Policy;

    #[test]
    fn every_setting_of_a_policy_by_load_is_heeded() {
        let second = Duration::from_secs(1);
        let latency = |said| format!("{:?}", from_value::<Latency>(said).unwrap().build());
        let ours = PeakEwma::new().decay(5 * second).default_latency(2 * second).penalty(3 * second);
        let said = json!({ "decay": "5s", "default_latency": "2s", "penalty": "3s" });
        assert_eq!(latency(said), format!("{ours:?}"));
        assert_eq!(latency(json!({ "classic": true })), format!("{:?}", PeakEwma::new().classic()));
        assert_eq!(latency(json!({})), format!("{:?}", PeakEwma::new()));

        let part = |said| format!("{:?}", from_value::<Part>(said).unwrap().build().unwrap());
        let ours = Aperture::new(1, 3).unwrap();
        assert_eq!(part(json!({ "instance": 1, "peers": 3 })), format!("{ours:?}"));
        let said = json!({ "instance": 1, "peers": 3, "least": 5 });
        assert_eq!(part(said), format!("{:?}", ours.least(5)));

        let few = |said| format!("{:?}", from_value::<Few>(said).unwrap().build().unwrap().seed(1));
        assert_eq!(few(json!({})), format!("{:?}", RandomAperture::new().seed(1)));
        let ours = RandomAperture::new().seed(1).least(3).band(0.5, 2.0).unwrap();
        assert_eq!(few(json!({ "least": 3, "low": 0.5, "high": 2.0 })), format!("{ours:?}"));

        let reports = |said| from_value::<Reports>(said).unwrap().build().unwrap();
        assert_eq!(reports(json!({ "update": "7s" })).refresh(), Some(7 * second));
        let said = json!({ "metrics": ["a", "b"], "penalty": 2.0 });
        let ours = OrcaWeighted::new().metric("a").metric("b").penalty(2.0).unwrap();
        assert_eq!(format!("{:?}", reports(said)), format!("{ours:?}"));
    }
}

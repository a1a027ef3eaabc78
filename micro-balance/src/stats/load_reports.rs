//! What an endpoint says of its load, for policies that heed it.

use std::time::Duration;

use http::HeaderMap;

use super::Stats;
use crate::load_report::LoadReport;

impl Stats {
    /// Takes a report of load, if the policy wants it and there is one.
    #[inline]
    pub(crate) fn load_report(&self, headers: &HeaderMap) {
        if let Some(reports) = &self.home.settings.load_reports
            && let Some(weight) = reports.weight(headers)
        {
            self.weigh(weight);
        }
    }

    /// Takes a report of load that came by itself.
    pub(crate) fn load_reported(&self, report: &LoadReport) {
        let reports = self.home.settings.load_reports.as_ref();
        if let Some(weight) = reports.and_then(|reports| reports.weigh(report)) {
            self.weigh(weight);
        }
    }

    fn weigh(&self, weight: f64) {
        self.seldom().reported.record(weight, self.now().get());
    }

    /// The weight that the endpoint's own reports give it, if they count.
    pub(crate) fn reported(&self, blackout: Duration, expiration: Duration) -> Option<f64> {
        self.seldom.get()?.reported.weight(self.now().get(), blackout, expiration)
    }

    /// Forgets reports from before a new connection.
    pub(crate) fn restart_reports(&self) {
        if let Some(seldom) = self.seldom.get() {
            seldom.reported.restart();
        }
    }
}

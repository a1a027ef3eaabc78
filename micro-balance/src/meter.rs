//! Figures for the [`metrics`] facade.
//!
//! They are taken from what endpoints count anyway, from time to time and by the driver: no request pays for
//! them. Each endpoint's handles are made once and kept.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{
    eject::{Reason, Tally},
    stats::Stats,
    times::Times,
    view::{State, View},
};

/// The service's name where it has none.
const NAMELESS: &str = "";

/// The figures of one balancer.
pub(crate) struct Meter {
    every: Duration,
    service: Arc<str>,
    endpoints: HashMap<Arc<str>, Handles>,
    ejections: Vec<(Counter, Counter)>,
    counts: Vec<(State, Gauge)>,
}

/// The figures of one endpoint.
struct Handles {
    picks: Counter,
    failures: Counter,
    ejections: Counter,
    in_flight: Gauge,
    latency: Histogram,
    estimate: Gauge,
    weight: Gauge,
    ready: Gauge,
}

impl Meter {
    pub(crate) fn new(every: Duration, service: Option<&Arc<str>>) -> Self {
        let service: Arc<str> = service.map_or_else(|| NAMELESS.into(), Arc::clone);
        let ejections = |reason: Reason, enforced: &'static str| {
            counter!("micro_balance_ejections_total",
                "service" => service.clone(), "reason" => reason.name(), "enforced" => enforced)
        };
        let ejections =
            Reason::ALL.into_iter().map(|reason| (ejections(reason, "true"), ejections(reason, "false")));
        let counts = State::ALL.into_iter().map(|state| {
            (state, gauge!("micro_balance_endpoints", "service" => service.clone(), "state" => state.name()))
        });
        Self {
            every: every.max(Duration::from_millis(10)),
            ejections: ejections.collect(),
            counts: counts.collect(),
            endpoints: HashMap::new(),
            service,
        }
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Tells how things are.
    pub(crate) fn tell(&mut self, views: &[(View, &Stats)], tally: &Tally) {
        for (found, (enforced, unenforced)) in tally.all().zip(&self.ejections) {
            enforced.absolute(found.enforced);
            unenforced.absolute(found.unenforced);
        }
        for (state, gauge) in &self.counts {
            gauge.set(views.iter().filter(|(view, _)| view.state == *state).count() as f64);
        }
        for (view, stats) in views {
            if !self.endpoints.contains_key(&view.id) {
                self.endpoints.insert(view.id.clone(), Handles::new(&self.service, &view.id));
            }
            if let Some(handles) = self.endpoints.get(&view.id) {
                handles.tell(view, stats);
            }
        }
        if self.endpoints.len() > views.len() {
            let known: HashSet<_> = views.iter().map(|(view, _)| &view.id).collect();
            self.endpoints.retain(|id, handles| known.contains(id) || handles.retire());
        }
    }
}

impl Handles {
    fn new(service: &Arc<str>, endpoint: &Arc<str>) -> Self {
        let counter =
            |name: &'static str| counter!(name, "service" => service.clone(), "endpoint" => endpoint.clone());
        let gauge =
            |name: &'static str| gauge!(name, "service" => service.clone(), "endpoint" => endpoint.clone());
        Self {
            picks: counter("micro_balance_picks_total"),
            failures: counter("micro_balance_failures_total"),
            ejections: counter("micro_balance_endpoint_ejections_total"),
            in_flight: gauge("micro_balance_in_flight"),
            latency: histogram!("micro_balance_latency_seconds",
                "service" => service.clone(), "endpoint" => endpoint.clone()),
            estimate: gauge("micro_balance_latency_estimate_seconds"),
            weight: gauge("micro_balance_weight"),
            ready: gauge("micro_balance_endpoint_ready"),
        }
    }

    fn tell(&self, view: &View, stats: &Stats) {
        for (seconds, count) in stats.times().into_iter().flat_map(Times::take) {
            self.latency.record_many(seconds, count as usize);
        }
        self.picks.absolute(view.picks);
        self.failures.absolute(view.failures);
        self.ejections.absolute(view.ejections);
        self.in_flight.set(view.in_flight as f64);
        self.estimate.set(view.latency.unwrap_or_default().as_secs_f64());
        self.weight.set(f64::from(view.attributes.weight));
        self.ready.set(f64::from(u8::from(view.state == State::Ready)));
    }

    /// An endpoint that is gone holds nothing any more; never kept.
    fn retire(&self) -> bool {
        for gauge in [&self.in_flight, &self.estimate, &self.weight, &self.ready] {
            gauge.set(0.0);
        }
        false
    }
}

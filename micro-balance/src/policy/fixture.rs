//! Endpoints for the tests of policies.

use std::sync::{Arc, Weak};

use super::Timing;
use crate::{
    Attributes, Ejection,
    endpoint::{About, Endpoint},
    settings::Settings,
    stats::{Home, Stats},
};

/// Endpoints of these weights, and of serial numbers from 1 on, which are their ids.
pub(super) fn weighing(weights: &[u32], timing: Option<Timing>) -> Vec<Endpoint> {
    let (reports, _) = tokio::sync::mpsc::unbounded_channel();
    let home = Home::new(Settings::new(timing, Ejection::default()).into(), reports, Weak::<()>::new());
    let endpoint = |(serial, &weight): (u64, &u32)| {
        let stats = Arc::new(Stats::new(serial, serial.to_string().into(), home.clone()));
        stats.latency().reset(0);
        Endpoint::new(About::new(Attributes { weight, ..Attributes::default() }), stats)
    };
    (1..).zip(weights).map(endpoint).collect()
}

/// So many endpoints that are alike.
pub(super) fn alike(count: usize, timing: Option<Timing>) -> Vec<Endpoint> {
    weighing(&vec![1; count], timing)
}

//! What is counted of the requests to one service.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Counts requests, for whoever has installed a [`metrics`] recorder. Clones count together.
#[derive(Clone)]
pub struct Meter(Arc<Handles>);

struct Handles {
    classes: [Counter; 5],
    seconds: Histogram,
    active: Gauge,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Meter {
    /// Counts under the name of `service`. The recorder has to be there before.
    pub fn new(service: &str) -> Self {
        let service = service.to_owned();
        let class = |class: &'static str| counter!("micro_gateway_requests_total", "service" => service.clone(), "status" => class);
        Self(Arc::new(Handles {
            classes: CLASSES.map(class),
            seconds: histogram!("micro_gateway_request_duration_seconds", "service" => service.clone()),
            active: gauge!("micro_gateway_streams_active", "service" => service.clone()),
        }))
    }

    /// One more request is under way, until what this gives is dropped.
    pub fn begin(&self) -> Active {
        self.0.active.increment(1.0);
        Active { handles: self.0.clone(), began: Instant::now() }
    }
}

/// A request that is under way.
pub struct Active {
    handles: Arc<Handles>,
    began: Instant,
}

impl Active {
    /// The request was answered with `status`; the answer may go on.
    pub fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.handles.classes[class].increment(1);
        self.handles.seconds.record(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.handles.active.decrement(1.0);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("began", &self.began).finish_non_exhaustive()
    }
}

//! What is counted of the requests to one service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap, StatusCode};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use micro_balance::{Clock, Guard};
use tonic::Code;

use super::note::Note;
use crate::traffic::Recorder;

/// Counts requests, for whoever has installed a [`metrics`] recorder, and tells of them to whoever follows. Clones
/// count together.
#[derive(Clone)]
pub struct Meter {
    handles: Arc<Handles>,
    recorder: Recorder,
}

struct Handles {
    service: Arc<str>,
    classes: [Counter; 5],
    seconds: Histogram,
    active: Gauge,
    clock: Clock,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Meter {
    /// Counts under the name of `service`, and tells `recorder`. What measurements are put into has to be there before.
    pub fn new(service: &str, recorder: Recorder) -> Self {
        let service = service.to_owned();
        let class = |class: &'static str| counter!("micro_gateway_requests_total", "service" => service.clone(), "status" => class);
        let handles = Handles {
            service: service.as_str().into(),
            classes: CLASSES.map(class),
            seconds: histogram!("micro_gateway_request_duration_seconds", "service" => service.clone()),
            active: gauge!("micro_gateway_streams_active", "service" => service.clone()),
            clock: Clock::new(),
        };
        Self { handles: Arc::new(handles), recorder }
    }

    /// One more request is under way, to `method` or a path, until what this gives is dropped. `extensions` are those of
    /// the request as it is sent: if anybody wants to know, the balancer says there where it goes.
    pub fn begin(&self, method: &str, headers: &HeaderMap, extensions: &mut Extensions) -> Active {
        self.handles.active.increment(1.0);
        let note = || Box::new(Note::new(&self.recorder, &self.handles.service, method, headers, extensions));
        let note = self.recorder.is_followed().then(note);
        Active { handles: self.handles.clone(), began: self.handles.clock.elapsed(), note }
    }
}

/// A request that is under way.
pub struct Active {
    handles: Arc<Handles>,
    /// By the clock of the handles.
    began: Duration,
    /// What is told of it, if anybody listens.
    note: Option<Box<Note>>,
}

/// Counted to the end of the answer, however it went.
impl Guard for Active {}

impl Active {
    /// The service that it is for.
    pub fn service(&self) -> &Arc<str> {
        &self.handles.service
    }

    /// The request was answered with `status` and `headers`; the answer may go on.
    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Some(note) = &mut self.note {
            note.answered(status, headers);
        }
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.handles.classes[class].increment(1);
        let took = self.handles.clock.elapsed().saturating_sub(self.began);
        self.handles.seconds.record(took.as_secs_f64());
    }

    /// The answer ends with `trailers`, which say of gRPC how it went.
    pub fn ended(&mut self, trailers: &HeaderMap) {
        if let Some(note) = &mut self.note {
            note.ended(trailers);
        }
    }

    /// The call is over, with `code`.
    pub fn over(&mut self, code: Code) {
        if let Some(note) = &mut self.note {
            note.over(code);
        }
    }

    /// The answer broke off.
    pub fn broke(&mut self) {
        if let Some(note) = &mut self.note {
            note.broke();
        }
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

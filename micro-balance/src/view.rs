//! What an operator sees of a balancer: every endpoint, its state and its figures.

use std::{sync::Arc, time::Duration};

use crate::{
    eject::Reason,
    endpoint::{Attributes, Endpoint},
    stats::LOST,
};

/// Where an endpoint is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Left out by subsetting or by a policy that uses one endpoint at a time: it is not connected.
    Idle,
    /// Not connected yet, or not any more: it takes no requests.
    Connecting,
    /// It takes requests.
    Ready,
    /// It takes requests where those that are well do not suffice, see
    /// [`Attributes::degraded`](crate::Attributes::degraded).
    Degraded,
    /// Active checks find it unwell, and it takes no requests unless too few others are left.
    Unhealthy,
    /// It did too badly, and takes no requests unless too few others are left.
    Ejected,
    /// Discovery has removed it, and it goes on with the sessions it has: see
    /// [`Builder::drain`](crate::Builder::drain).
    Draining,
    /// Its ejection is over, and one request at a time finds out whether it is well again.
    HalfOpen,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Connecting,
        Self::Ready,
        Self::Degraded,
        Self::Unhealthy,
        Self::Ejected,
        Self::Draining,
        Self::HalfOpen,
    ];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::HalfOpen => "half_open",
        }
    }
}

/// One endpoint at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct View {
    /// The name discovery gives it.
    pub id: Arc<str>,
    /// What discovery says of it.
    pub attributes: Attributes,
    /// Where it is in its life.
    pub state: State,
    /// Requests it is busy with.
    pub in_flight: u64,
    /// Requests it was ever picked for.
    pub picks: u64,
    /// How many of them failed by its fault.
    pub failures: u64,
    /// The latency the policy reckons with, if it measures any.
    pub latency: Option<Duration>,
    /// Why the last attempt to connect failed, while it is connecting.
    pub last_error: Option<Arc<str>>,
    /// Why it was ejected last, while it is ejected or half open.
    pub ejected: Option<Reason>,
    /// How often it was ever ejected.
    pub ejections: u64,
}

/// An endpoint as the driver lists it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) endpoint: Endpoint,
    pub(crate) state: State,
    pub(crate) last_error: Option<Arc<str>>,
    pub(crate) ejected: Option<Reason>,
    pub(crate) ejections: u64,
}

impl Listed {
    /// One of whom there is nothing more to say than that it takes requests.
    pub(crate) fn plain(endpoint: Endpoint) -> Self {
        Self { endpoint, state: State::Ready, last_error: None, ejected: None, ejections: 0 }
    }

    /// Whether there is more to say.
    pub(crate) fn is_plain(&self) -> bool {
        self.state == State::Ready && self.ejections == 0
    }

    pub(crate) fn serial(&self) -> u64 {
        self.endpoint.stats().serial()
    }

    pub(crate) fn view(&self) -> View {
        let stats = self.endpoint.stats();
        View {
            id: self.endpoint.shared_id().clone(),
            attributes: self.endpoint.attributes().clone(),
            state: match self.state {
                State::Idle => State::Idle,
                state if stats.is_open(LOST) => state,
                _ => State::Connecting,
            },
            in_flight: stats.in_flight(),
            picks: stats.picks(),
            failures: stats.failures(),
            latency: self.endpoint.latency(),
            last_error: self.last_error.clone(),
            ejected: self.ejected,
            ejections: self.ejections,
        }
    }
}

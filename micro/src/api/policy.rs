//! What holds for a request, by the route that it takes: where it goes, how long that may take, what is sent again, and how
//! many there may be.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use micro_balance::Http;
use micro_balance::limit::LimitLayer;
use micro_balance::throttle::ThrottleLayer;
use micro_tower::Client;

use super::event::EventForm;
use super::handler::Handler;
use super::rules::{Route, Rules};
use crate::places::Places;
use crate::proxy::{Forwarding, Origins, Resend, Tunnels, Upstream, Wire};
use crate::transcode::Transcoding;

/// What holds for the requests of one route, or of none.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// The service, where the route names it.
    pub(super) service: Option<String>,
    /// The method of it.
    pub(super) method: Option<String>,
    /// The way to it.
    pub(super) handler: Option<Handler>,
    /// The topic of events.
    pub(super) topic: Option<String>,
    pub(super) event: EventForm,
    pub(super) forwarding: Forwarding,
    most_bytes: usize,
    pub(super) limit: Option<LimitLayer<Http>>,
    pub(super) throttle: Option<ThrottleLayer<Http>>,
    /// What each client may have of it.
    pub(super) clients: Option<Places>,
}

impl Policy {
    /// What holds where no route says anything.
    pub(super) fn usual(id: &'static str, rules: &Rules, origins: Origins, tunnels: Tunnels) -> Self {
        let forwarding = Forwarding { id, timeout: rules.timeout, origins, tunnels, resend: None };
        Self {
            service: None,
            method: None,
            handler: None,
            topic: None,
            event: EventForm::default(),
            forwarding,
            most_bytes: Transcoding::default().most_bytes,
            limit: None,
            throttle: None,
            clients: None,
        }
    }

    /// What `route` says, and for the rest what is usual.
    pub(super) fn of(&self, route: &Route) -> Self {
        let mut forwarding = self.forwarding.clone();
        forwarding.timeout = route.timeout.unwrap_or(forwarding.timeout);
        if route.timeout.is_some() || route.attempt_timeout.is_some() || route.retry.is_some() {
            forwarding.resend = Some(Resend {
                call: route.timeout,
                attempt: route.attempt_timeout,
                retry: route.retry.clone().unwrap_or_default(),
            });
        }
        Self {
            service: route.service.clone(),
            method: route.method.clone(),
            handler: route.handler,
            topic: route.topic.clone(),
            event: route.event,
            forwarding,
            most_bytes: route.most_bytes.unwrap_or(self.most_bytes),
            limit: route.limit.clone().map(LimitLayer::http),
            throttle: route.throttle.clone().map(ThrottleLayer::http),
            clients: route.most_per_client.map(Places::of_each),
        }
    }

    /// Whether there may be any number of requests.
    pub(super) fn is_unlimited(&self) -> bool {
        self.limit.is_none() && self.throttle.is_none() && self.clients.is_none()
    }

    /// What errors come from.
    pub(super) fn id(&self) -> &'static str {
        self.forwarding.id
    }

    /// Whether the path of a request alone says where it goes.
    pub(super) fn goes_by_path(&self) -> bool {
        self.service.is_none() && self.handler.is_none() && self.method.is_none()
    }

    /// What calls `upstream` by gRPC.
    pub(super) fn client(&self, upstream: &Upstream) -> Client {
        self.forwarding.client(upstream, Wire::Http2, true)
    }

    /// How requests in JSON are carried out.
    pub(super) fn transcoding(&self) -> Transcoding {
        Transcoding { timeout: self.timeout(), most_bytes: self.most_bytes }
    }

    /// How long a service may take to begin its answer.
    pub(super) fn timeout(&self) -> Duration {
        self.forwarding.timeout
    }
}

/// Rules as they are looked up.
#[derive(Debug)]
pub(super) struct Policies {
    usual: Arc<Policy>,
    /// The longest paths first.
    routes: Vec<(Route, Arc<Policy>)>,
}

impl Policies {
    pub(super) fn new(usual: Policy, mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.weight()));
        let routes = routes.into_iter().map(|route| {
            let policy = Arc::new(usual.of(&route));
            (route, policy)
        });
        let routes = routes.collect();
        Self { usual: Arc::new(usual), routes }
    }

    /// What holds for a request of `method` for `path` at `host`.
    pub(super) fn find(&self, method: &Method, host: &str, path: &str) -> &Arc<Policy> {
        let found = self.routes.iter().find(|(route, _)| route.matches(method, host, path));
        found.map_or(&self.usual, |(_, policy)| policy)
    }

    /// What holds where no route says anything.
    pub(super) fn usual(&self) -> &Arc<Policy> {
        &self.usual
    }

    /// Whether there is no route.
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

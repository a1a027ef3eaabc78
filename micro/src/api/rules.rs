//! What a gateway can be told at any time: its routes, and what holds for all of them.

use std::fmt;
use std::time::Duration;

use http::Method;
use micro_balance::limit::LimitLayer;
use micro_balance::retry::RetryLayer;
use micro_balance::throttle::ThrottleLayer;

use super::cors::Cors;
use super::event::EventForm;
use super::handler::Handler;

/// What holds for requests, until a gateway is given others by [`Gateway::set_rules`](super::Gateway::set_rules).
///
/// ```
/// use std::time::Duration;
/// use micro::api::{Route, Rules};
/// use micro_balance::limit::LimitLayer;
///
/// let rules = Rules::new()
///     .timeout(Duration::from_secs(10))
///     .route(Route::new("/orders").timeout(Duration::from_secs(2)).limit(LimitLayer::new(100)));
/// # drop(rules);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Rules {
    pub(super) timeout: Duration,
    pub(super) cors: Cors,
    pub(super) routes: Vec<Route>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), cors: Cors::default(), routes: Vec::new() }
    }
}

impl Rules {
    /// 30 s for every request, no pages of other hosts, and no routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a service may take to begin its answer once it has the last of the request: a body may come for longer, see
    /// [`Forwarding`](crate::proxy::Forwarding). gRPC calls say it themselves.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Pages of other hosts that may send requests and read answers.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// One more route. Of several that match a request, the one with the longest path counts.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// How many routes there are.
    pub fn routes(&self) -> usize {
        self.routes.len()
    }
}

/// What holds for requests below a path.
#[derive(Clone)]
#[must_use]
pub struct Route {
    /// Without what is empty between slashes.
    path: Vec<String>,
    host: Option<String>,
    methods: Vec<Method>,
    pub(super) service: Option<String>,
    pub(super) method: Option<String>,
    pub(super) handler: Option<Handler>,
    pub(super) topic: Option<String>,
    pub(super) event: EventForm,
    pub(super) timeout: Option<Duration>,
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) retry: Option<RetryLayer>,
    pub(super) limit: Option<LimitLayer>,
    pub(super) throttle: Option<ThrottleLayer>,
    pub(super) most_bytes: Option<usize>,
    pub(super) most_per_client: Option<usize>,
}

impl Route {
    /// For `path` and whatever is below it: `/orders` is for `/orders/7`, and not for `/orderservice`.
    pub fn new(path: &str) -> Self {
        Self {
            path: segments(path).map(str::to_owned).collect(),
            host: None,
            methods: Vec::new(),
            service: None,
            method: None,
            handler: None,
            topic: None,
            event: EventForm::default(),
            timeout: None,
            attempt_timeout: None,
            retry: None,
            limit: None,
            throttle: None,
            most_bytes: None,
            most_per_client: None,
        }
    }

    /// Only for requests for this host, whatever the port.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Only for requests of these methods.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// To this service of the registry, by its whole name; what the path means unless set.
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// To this method of the service, such as `Greeter.Hello`; what the path means unless set.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// This way; what the service announces unless set.
    pub fn handler(mut self, handler: Handler) -> Self {
        self.handler = Some(handler);
        self
    }

    /// Events are published as this topic; what the path means unless set.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// What is published of a request.
    pub fn event(mut self, form: EventForm) -> Self {
        self.event = form;
        self
    }

    /// How long the service may take to begin its answer; of gRPC the whole call, where it does not say less itself.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long each attempt may take to begin its answer once it has the last of the body that is there: an upload that goes on
    /// may take longer.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// What is sent again.
    pub fn retry(mut self, retry: RetryLayer) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How many requests there may be at a time; others are 503. Costs each request an allocation.
    pub fn limit(mut self, limit: LimitLayer) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Turns requests away that would be turned away by the service. Costs each request an allocation.
    pub fn throttle(mut self, throttle: ThrottleLayer) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// How long a body may be that becomes a message or an event, in bytes; 4 MiB unless set.
    pub fn most_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = Some(bytes);
        self
    }

    /// How many requests one client may have under way, to the ends of their answers and WebSockets; others are 429. A client
    /// is an IPv4 address, or the first 64 bits of one of IPv6; behind a proxy that is trusted, the last that it names. Costs
    /// each request an allocation and a lock.
    ///
    /// Answers need have no end, and who asks for many keeps others from the connections and streams that a service takes.
    pub fn most_per_client(mut self, requests: usize) -> Self {
        self.most_per_client = Some(requests);
        self
    }

    /// How much it asks of a request: of two that match, the one that asks for more is meant.
    pub(super) fn weight(&self) -> (usize, bool, bool) {
        (self.path.len(), self.host.is_some(), !self.methods.is_empty())
    }

    pub(super) fn matches(&self, method: &Method, host: &str, path: &str) -> bool {
        let mut asked = segments(path);
        self.path.iter().all(|segment| asked.next() == Some(segment))
            && self.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host))
            && (self.methods.is_empty() || self.methods.contains(method))
    }
}

/// What stands between slashes; nothing twice, as the rules for paths have it, so that no `//` leads around a route.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("path", &self.path)
            .field("host", &self.host)
            .field("methods", &self.methods)
            .field("service", &self.service)
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_for_whole_segments_below_its_path() {
        let route = Route::new("/orders/");
        for (path, is) in [
            ("/orders", true),
            ("/orders/7", true),
            ("//orders//7", true),
            ("/orderservice", false),
            ("/", false),
        ] {
            assert_eq!(route.matches(&Method::GET, "", path), is, "{path}");
        }
        assert!(Route::new("/").matches(&Method::GET, "", "/anything"));
        let narrow = Route::new("/orders").host("Shop.example").methods([Method::POST]);
        assert!(narrow.matches(&Method::POST, "shop.example", "/orders"));
        assert!(!narrow.matches(&Method::GET, "shop.example", "/orders"));
        assert!(!narrow.matches(&Method::POST, "other.example", "/orders"));
        assert!(narrow.weight() > route.weight());
    }
}

//! What a dashboard can be told before it starts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use micro_broker::Broker;

use super::apps::{Apps, Origin};
use super::counted::Counted;
use super::login::Login;
use super::polls::Polls;
use super::router::Web;
use super::streams;
use super::view::View;
use crate::catalog::Catalog;
use crate::command::Context;
use crate::rpc::Rpc;
use crate::traffic::{Feeds, Recorder, Traffic};

/// How long a call through `/rpc` may take.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Sets up a [`Web`].
#[must_use = "a dashboard does nothing until it is built"]
#[derive(Clone)]
pub struct Builder {
    context: Context,
    broker: Arc<dyn Broker>,
    traffic: Traffic,
    login: Option<Login>,
    namespace: Arc<str>,
    read_only: bool,
    operator_token: Option<Arc<str>>,
    apps: Option<Origin>,
}

impl Builder {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            broker: Arc::new(micro_broker::Memory::new()),
            traffic: Traffic::new(),
            login: None,
            namespace: "go.micro.web".into(),
            read_only: false,
            operator_token: None,
            apps: None,
        }
    }

    /// Shows the events of `broker`; those of this process alone unless set.
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = broker;
        self
    }

    /// Shows figures of `traffic`, which others in this process record as well.
    pub fn traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// Asks everybody for `login`. Without one, only requests to names of this machine are answered.
    pub fn login(mut self, login: Login) -> Self {
        self.login = Some(login);
        self
    }

    /// What stands before the names of web apps, without the dot: `go.micro.web` unless set.
    pub fn namespace(mut self, namespace: impl Into<Arc<str>>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Shows everything and changes nothing: no calls, no events published, no commands that change.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Sends browsers to `port` of the same host for the pages of web apps, so that these have an origin of their own:
    /// there [`Web::apps_router`] is to be served. Unless set, pages of apps are shown without an origin, where most
    /// have no use of cookies, storage and WebSockets.
    pub fn apps_at(mut self, port: u16) -> Self {
        self.apps = Some(Origin::Port(port));
        self
    }

    /// The same where a proxy stands in front, and has `url` for it, such as `https://apps.example`.
    pub fn apps_url(mut self, url: &str) -> Self {
        self.apps = Some(Origin::Url(url.trim_end_matches('/').into()));
        self
    }

    /// Shows `token` to the gateways and sidecars whose requests are followed.
    pub fn operator_token(mut self, token: impl Into<Arc<str>>) -> Self {
        self.operator_token = Some(token.into());
        self
    }

    /// Starts to watch the registry.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn build(self) -> Web {
        let registry = self.context.registry().clone();
        let catalog = Catalog::new(registry);
        let recorder = Recorder::new("browser");
        let feeds = Feeds::new(catalog.clone(), self.traffic.clone(), recorder.follow(), self.operator_token);
        let apps = Apps::new(&self.context, recorder, self.apps);
        Web::new(View {
            feeds,
            rpc: Rpc::new(apps.directory.clone(), CALL_WITHIN),
            apps,
            counted: Counted::start(),
            catalog,
            polls: Polls::default(),
            caller: self.context.caller().clone(),
            context: self.context,
            traffic: self.traffic,
            broker: self.broker,
            login: self.login,
            streams: streams::places(),
            namespace: self.namespace,
            read_only: self.read_only,
        })
    }
}

/// Without the token.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("context", &self.context)
            .field("broker", &self.broker)
            .field("namespace", &self.namespace)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

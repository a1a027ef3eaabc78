//! What a dashboard can be told before it starts.

use std::sync::Arc;

use micro_broker::Broker;

use super::apps::Apps;
use super::login::Login;
use super::router::Web;
use super::view::View;
use crate::catalog::Catalog;
use crate::command::Context;
use crate::proxy::Directory;
use crate::traffic::Traffic;

/// Sets up a [`Web`].
#[must_use = "a dashboard does nothing until it is built"]
#[derive(Clone, Debug)]
pub struct Builder {
    context: Context,
    broker: Arc<dyn Broker>,
    traffic: Traffic,
    login: Option<Login>,
    namespace: Arc<str>,
    read_only: bool,
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

    /// Starts to watch the registry.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    pub fn build(self) -> Web {
        let registry = self.context.registry().clone();
        Web::new(View {
            catalog: Catalog::new(registry.clone()),
            apps: Apps::new(Directory::builder(registry).build()),
            caller: self.context.caller().clone(),
            context: self.context,
            traffic: self.traffic,
            broker: self.broker,
            login: self.login,
            namespace: self.namespace,
            read_only: self.read_only,
        })
    }
}

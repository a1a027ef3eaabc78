//! What every page shows, and how.

use std::sync::Arc;

use micro_broker::Broker;

use super::apps::Apps;
use super::counted::Counted;
use super::login::Login;
use super::polls::Polls;
use crate::call::Caller;
use crate::catalog::Catalog;
use crate::command::Context;
use crate::places::Places;
use crate::rpc::Rpc;
use crate::traffic::{Feeds, Traffic};

/// What pages are made from. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) context: Context,
    pub(super) catalog: Catalog,
    pub(super) traffic: Traffic,
    pub(super) feeds: Feeds,
    pub(super) polls: Polls,
    pub(super) caller: Caller,
    pub(super) rpc: Rpc,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) apps: Apps,
    pub(super) counted: Counted,
    pub(super) login: Option<Login>,
    /// For answers that go on.
    pub(super) streams: Places,
    /// What stands before the names of web apps, without the dot.
    pub(super) namespace: Arc<str>,
    /// Nothing may be changed, called or published.
    pub(super) read_only: bool,
}

impl View {
    /// The name in a path of the web app that is registered as `service`, if it is one.
    pub(super) fn app<'a>(&self, service: &'a str) -> Option<&'a str> {
        match &*self.namespace {
            "" => None,
            namespace => service.strip_prefix(namespace)?.strip_prefix('.').filter(|app| !app.is_empty()),
        }
    }
}

//! From a router that an application serves to the bot: for inputs that come over HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use futures_core::future::BoxFuture;
use tokio::sync::mpsc;
use tower::BoxError;

use super::heard::{Heard, Input};

/// Where what a router hears goes: to the bot, while it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear(Arc<Mutex<Option<mpsc::Sender<Heard>>>>);

impl Ear {
    /// Leads to `heard` for good.
    pub(super) fn to(heard: mpsc::Sender<Heard>) -> Self {
        Self(Arc::new(Mutex::new(Some(heard))))
    }

    /// What leads to the bot; nothing where none runs.
    pub(super) fn heard(&self) -> Option<mpsc::Sender<Heard>> {
        self.place().clone()
    }

    /// Leads to `heard` until nobody takes anything there.
    pub(super) async fn lead(&self, heard: mpsc::Sender<Heard>) {
        *self.place() = Some(heard.clone());
        heard.closed().await;
        self.place().take();
    }

    fn place(&self) -> MutexGuard<'_, Option<mpsc::Sender<Heard>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An input whose router an application serves itself. Without a bot that runs it answers 503.
#[derive(Debug)]
pub struct Mounted {
    name: &'static str,
    ear: Ear,
}

impl Mounted {
    /// The router that `routes` makes, and the input that hears what comes there.
    pub(super) fn new(name: &'static str, routes: impl FnOnce(Ear) -> Router) -> (Self, Router) {
        let ear = Ear::default();
        let router = routes(ear.clone());
        (Self { name, ear }, router)
    }
}

impl Input for Mounted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, heard: mpsc::Sender<Heard>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.ear.lead(heard).await;
            Ok(())
        })
    }
}

//! A bot, and what it can be told before it starts.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::mpsc;

use super::audit::Audit;
use super::desk::Desk;
use super::heard::Input;
use super::provided::Provided;
use super::recent::Recent;
use super::rights::Rights;
use super::supervise::supervise;
use crate::catalog::Catalog;
use crate::command::Context;

/// A bot: inputs, and what is done with what they hear.
#[derive(Debug)]
#[must_use = "a bot does nothing until it runs"]
pub struct Bot {
    inputs: Vec<Box<dyn Input>>,
    settings: Builder,
}

/// Sets up a [`Bot`].
#[derive(Debug)]
#[must_use = "a bot does nothing until it is built and runs"]
pub struct Builder {
    context: Context,
    rights: Rights,
    audit: Option<Audit>,
    namespace: String,
    limit: Duration,
}

/// Messages that wait to be taken from the inputs.
const WAITING: usize = 64;

impl Bot {
    /// A bot that works on what `context` does.
    pub fn builder(context: Context) -> Builder {
        let (rights, namespace) = (Rights::new(), "go.micro.bot".to_owned());
        Builder { context, rights, audit: None, namespace, limit: Duration::from_secs(60) }
    }

    /// Listens and answers until the context says stop, or an input that ends the bot has ended.
    pub async fn run(self) {
        let Self { inputs, settings } = self;
        let (sender, receiver) = mpsc::channel(WAITING);
        let stopped = settings.context.clone();
        let desk = settings.desk().run(receiver);
        let listening = async {
            let running = inputs.iter().map(|input| Box::pin(supervise(&**input, sender.clone())));
            select_all(running).await;
            // Without a sender the desk finishes what it has.
            drop(sender);
        };
        tokio::select! {
            () = async { tokio::join!(listening, desk); } => {}
            () = stopped.stopped() => {}
        }
    }
}

impl Builder {
    /// Who may do what; everybody may look and nobody may change anything unless set.
    pub fn rights(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }

    /// Writes down what was asked.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// What stands before the names of services that bring commands, without the dot: `go.micro.bot` unless set.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long a command may take; 60 s unless set.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A bot that listens to `inputs`; one at least.
    pub fn build(self, inputs: Vec<Box<dyn Input>>) -> Option<Bot> {
        (!inputs.is_empty()).then_some(Bot { inputs, settings: self })
    }

    fn desk(self) -> Desk {
        let catalog = Catalog::new(self.context.registry().clone());
        let provided = Provided::new(catalog, self.context.caller().clone(), &self.namespace);
        Desk {
            context: self.context,
            provided,
            rights: self.rights,
            audit: self.audit,
            limit: self.limit,
            recent: Mutex::new(Recent::default()),
        }
    }
}

//! Calls by name.

use std::sync::Arc;
use std::time::Duration;

use micro_discover::{Memory, Registry, Service};
use micro_tower::Client;
use micro_tower::client::Builder;
use prost_reflect::MethodDescriptor;
use tokio::time::{Instant, timeout};
use tonic::Status;

use super::answer::Answers;
use super::clients::Clients;
use super::error::Error;
use super::go_micro;
use super::input::Documents;
use super::prepared::{By, Prepared};
use super::request::Call;
use super::target::Target;
use crate::remote::Sidecar;
use crate::schema::{self, Schema, Schemas};

/// Calls any method of any service. Clones share its clients and schemas.
#[derive(Clone, Debug)]
#[must_use]
pub struct Caller {
    clients: Clients,
    schemas: Schemas,
    given: Option<Schema>,
    through: Option<Sidecar>,
}

/// How long a server may take to say what it can be asked.
const REFLECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a registry may take to say what a service speaks.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

impl Caller {
    /// Finds services in `registry`, and learns what they can be asked from themselves.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { clients: Clients::new(registry), schemas: Schemas::default(), given: None, through: None }
    }

    /// Takes methods from `schema` first, and asks servers only for those that are not in it.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.given = Some(schema);
        self
    }

    /// Lets `sidecar` make every call: schemas, the form of JSON, and headers of answers are then its own affair.
    pub fn through(mut self, sidecar: Sidecar) -> Self {
        self.through = Some(sidecar);
        self
    }

    /// Whether a sidecar makes every call, in its own way.
    pub(crate) fn is_through(&self) -> bool {
        self.through.is_some()
    }

    /// The schema that was given.
    #[must_use]
    pub fn given(&self) -> Option<&Schema> {
        self.given.as_ref()
    }

    /// Keeps schemas in `schemas`.
    pub fn schemas(mut self, schemas: Schemas) -> Self {
        self.schemas = schemas;
        self
    }

    /// Changes the settings of every client: retries, ejection, TLS.
    pub fn clients(mut self, settings: impl Fn(Builder) -> Builder + Send + Sync + 'static) -> Self {
        self.clients.set(settings);
        self
    }

    /// Where services are found.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        self.clients.registry()
    }

    /// The client of `target`, or of one of its endpoints, by id or address. Asking twice gives one client.
    ///
    /// A name that nobody has gets a client too, which watches the registry until the name appears: whoever
    /// takes names from strangers looks them up first.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, as [`tokio::spawn`] does.
    #[must_use]
    pub fn client(&self, target: &Target, endpoint: Option<&str>) -> Client {
        self.clients.get(target, endpoint)
    }

    /// The same for the endpoints of `service` alone, as they are now: the registry is not asked.
    ///
    /// # Errors
    ///
    /// The record breaks a rule.
    pub async fn only(&self, service: &Service) -> Result<Self, micro_discover::Error> {
        let registry = Memory::new();
        registry.announce(service, Duration::ZERO).await?;
        let Self { clients, given, through, .. } = self;
        Ok(Self {
            clients: clients.of(Arc::new(registry)),
            schemas: Schemas::default(),
            given: given.clone(),
            through: through.clone(),
        })
    }

    /// What `target` can be asked, by its own word.
    ///
    /// # Errors
    ///
    /// As for [`Schema::reflect`].
    pub async fn reflected(&self, target: &Target, endpoint: Option<&str>) -> Result<Schema, schema::Error> {
        let fetch = || Schema::reflect(self.client(target, endpoint), REFLECT_WITHIN);
        self.schemas.get(&name(target, endpoint), fetch).await
    }

    /// What is called `method` at `target`: in the schema that was given, or else by the server's word, which is
    /// asked for anew if it does not know the method.
    ///
    /// # Errors
    ///
    /// As for [`Schema::method`] and [`Schema::reflect`].
    pub async fn method(
        &self,
        target: &Target,
        endpoint: Option<&str>,
        method: &str,
    ) -> Result<MethodDescriptor, schema::Error> {
        if let Some(schema) = &self.given {
            match schema.method(method) {
                Err(error @ schema::Error::NoMethod { .. }) => {
                    return match self.reflected(target, endpoint).await {
                        Ok(schema) => schema.method(method),
                        Err(_) => Err(error),
                    };
                }
                found => return found,
            }
        }
        match self.reflected(target, endpoint).await?.method(method) {
            Err(schema::Error::NoMethod { .. }) => {
                let fetch = || Schema::reflect(self.client(target, endpoint), REFLECT_WITHIN);
                self.schemas.refresh(&name(target, endpoint), fetch).await?.method(method)
            }
            found => found,
        }
    }

    /// By gRPC where a schema is given or the server has one; else as the record says.
    async fn way(&self, target: &Target, endpoint: Option<&str>, method: &str) -> Result<Way, schema::Error> {
        let records = match target {
            // A registry that does not answer has said enough before.
            Target::Service(name) => match timeout(LOOK_WITHIN, self.registry().get(name)).await {
                Ok(answer) => answer.unwrap_or_default(),
                Err(_) => Vec::new(),
            },
            Target::Address(_) => Vec::new(),
        };
        if self.given.is_none() && go_micro::speaks(&records) {
            return Ok(Way::GoMicro { streams: go_micro::streams(&records, method) });
        }
        match self.method(target, endpoint, method).await {
            // Debug.Health and its like are never described.
            Err(schema::Error::NoReflection(_)) if go_micro::announced(&records, method) => {
                Ok(Way::GoMicro { streams: go_micro::streams(&records, method) })
            }
            found => found.map(Way::Grpc),
        }
    }

    /// The way of `call`, which is found within the time that the call may take.
    async fn found(&self, call: &Call) -> Result<Way, Error> {
        let Call { target, method, .. } = call;
        let way = self.way(target, call.endpoint.as_deref(), method);
        let Some(limit) = call.timeout else { return Ok(way.await?) };
        let late = |_| {
            let what =
                format!("neither the registry nor {target} itself said within {limit:?} what {method} is");
            Error::from(Status::deadline_exceeded(what))
        };
        Ok(timeout(limit, way).await.map_err(late)??)
    }

    /// Whether `method` takes or gives a stream.
    ///
    /// # Errors
    ///
    /// As for [`method`](Self::method).
    pub async fn streams(
        &self,
        target: &Target,
        endpoint: Option<&str>,
        method: &str,
    ) -> Result<bool, schema::Error> {
        if self.through.is_some() {
            return Ok(false);
        }
        match self.way(target, endpoint, method).await? {
            Way::Grpc(method) => Ok(method.is_client_streaming() || method.is_server_streaming()),
            Way::GoMicro { streams } => Ok(streams),
        }
    }

    /// Calls, and gives the answers as they come.
    ///
    /// What is sent is checked before it is; a document that is wrong ends the call, and is its error.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn call(&self, call: Call, documents: Documents) -> Result<Answers, Error> {
        let (began, limit) = (Instant::now(), call.timeout);
        let mut prepared = self.prepare(call).await?;
        prepared.call.timeout = limit.map(|limit| limit.saturating_sub(began.elapsed()));
        prepared.send(documents).await
    }

    /// Finds out what `call` is, within the time that it may take, so that it can be made again and again.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn prepare(&self, call: Call) -> Result<Prepared, Error> {
        if let Some(sidecar) = &self.through {
            return Ok(Prepared { call, by: By::Sidecar(sidecar.clone()) });
        }
        let way = self.found(&call).await?;
        let client = self.client(&call.target, call.endpoint.as_deref());
        let by = match way {
            Way::Grpc(method) => By::Grpc { client, method },
            Way::GoMicro { streams } => By::GoMicro { client, streams },
        };
        Ok(Prepared { call, by })
    }
}

/// What a method is called by.
enum Way {
    /// gRPC, with messages whose types are known.
    Grpc(MethodDescriptor),
    /// JSON, as go-micro's servers and those of [`micro_tower::wire`] read it.
    GoMicro { streams: bool },
}

/// What a schema is kept by. A name has no space in it.
fn name(target: &Target, endpoint: Option<&str>) -> String {
    format!("{target} {}", endpoint.unwrap_or_default())
}

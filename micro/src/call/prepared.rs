//! A call that is found out about once, and made as often as is wanted.

use std::time::Duration;

use futures_util::TryStreamExt;
use micro_balance::SentTo;
use micro_tower::Client;
use prost_reflect::MethodDescriptor;
use tonic::Request;
use tonic::metadata::MetadataMap;

use super::answer::Answers;
use super::error::Error;
use super::go_micro;
use super::input::{Documents, messages};
use super::invoke::invoke;
use super::reason::told;
use super::request::Call;
use super::target::Target;
use crate::remote::Sidecar;
use crate::time_limit;

/// A call of which it is known how it is made. What it was found to be is not looked at again.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) call: Call,
    pub(super) by: By,
}

/// What makes it.
#[derive(Clone, Debug)]
pub(super) enum By {
    /// gRPC, with messages whose types are known.
    Grpc { client: Client, method: MethodDescriptor },
    /// JSON, as go-micro's servers read it.
    GoMicro { client: Client, streams: bool },
    /// A sidecar, in its own way.
    Sidecar(Sidecar),
}

impl Prepared {
    /// Has it said in `sent_to` to which endpoint the next call went.
    #[must_use]
    pub fn sent_to(mut self, sent_to: SentTo) -> Self {
        self.call = self.call.sent_to(sent_to);
        self
    }

    /// Makes the call, and gives the answers as they come. It may take as long as it was given.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn send(self, documents: Documents) -> Result<Answers, Error> {
        let Self { call, by } = self;
        let (client, method) = match by {
            By::Sidecar(sidecar) => return by_sidecar(&sidecar, call, documents).await,
            By::GoMicro { client, streams } => {
                return go_micro::call(client, call, documents, streams).await;
            }
            By::Grpc { client, method } => (client, method),
        };
        let (messages, mut wrong) = messages(documents, &method, call.json).await?;
        let mut request = Request::new(messages);
        *request.metadata_mut() = MetadataMap::from_headers(call.headers);
        if let Some(sent_to) = call.sent_to {
            request.extensions_mut().insert(sent_to);
        }
        if let Some(timeout) = call.timeout {
            time_limit::limit(&mut request, timeout);
        }
        let response = tokio::select! {
            biased;
            response = invoke(client, &method, request) => response?,
            error = wrong.error() => return Err(error),
        };
        Ok(Answers::messages(response, wrong))
    }
}

/// Longer than a sidecar lets anybody wait.
const AT_MOST: Duration = Duration::from_secs(3600);

async fn by_sidecar(sidecar: &Sidecar, call: Call, documents: Documents) -> Result<Answers, Error> {
    let requests = documents.all().await?;
    let limit = call.timeout.unwrap_or(AT_MOST);
    let (service, address) = match (&call.target, &call.endpoint) {
        (Target::Service(name), endpoint) => (name.as_str(), endpoint.clone()),
        (Target::Address(address), _) => ("", Some(address.to_string())),
    };
    let called = sidecar.call(service, &call.method, address.as_deref(), call.headers, requests, limit);
    let answers = called.await.map_err(|status| told(status, &call.method))?;
    let method = call.method;
    Ok(Answers::texts(answers.map_err(move |status| told(status, &method))))
}

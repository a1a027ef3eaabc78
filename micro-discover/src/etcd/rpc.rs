//! One member of the cluster, over gRPC.

use std::future::poll_fn;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{HeaderValue, Method, Version};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use super::answer::{self, LARGEST};
use super::fields::Field;
use super::wire::{AuthenticateRequest, AuthenticateResponse, WatchRequest, WatchResponse};
use crate::pem::Pem;

/// How to connect to any member.
#[derive(Default)]
pub(super) struct Options {
    pub(super) user: Option<(String, String)>,
    pub(super) tls: Option<Tls>,
}

/// Whom to trust, and who we are.
#[derive(Default)]
pub(super) struct Tls {
    /// Whether the system's authorities are trusted.
    pub(super) roots: bool,
    pub(super) authority: Option<Pem>,
    pub(super) identity: Option<(Pem, Pem)>,
}

impl Tls {
    /// As it is now.
    fn config(&self) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new();
        if self.roots {
            config = config.with_enabled_roots();
        }
        if let Some(authority) = &self.authority {
            config = config.ca_certificate(Certificate::from_pem(authority.now()));
        }
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(certificate.now(), key.now()));
        }
        config
    }
}

/// A connection to a member, logged in.
#[derive(Clone)]
pub(super) struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

/// A running watch; dropping it ends it.
pub(super) struct Watching {
    pub(super) requests: mpsc::Sender<WatchRequest>,
    pub(super) answers: Streaming<WatchResponse>,
}

/// How long a member may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// What an error comes down to.
fn cause(mut error: &dyn std::error::Error) -> &dyn std::error::Error {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// What to show from now on, as a login is answered: nothing to a cluster that asks nobody who he is, or does not any more.
fn token(login: Result<AuthenticateResponse, Status>) -> Result<Option<MetadataValue<Ascii>>, Status> {
    match login {
        Err(status) if status.message().contains("authentication is not enabled") => Ok(None),
        login => {
            let token = login?.token.parse();
            token.map(Some).map_err(|_| Status::internal("a token that is no header"))
        }
    }
}

impl Client {
    pub(super) async fn connect(member: &str, options: &Options) -> Result<Self, Status> {
        let unreachable = |error: tonic::transport::Error| {
            Status::unavailable(format!("{member} cannot be reached: {}", cause(&error)))
        };
        let mut endpoint = Endpoint::from_shared(member.to_owned())
            .map_err(unreachable)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(10)));
        if let Some(tls) = &options.tls {
            endpoint = endpoint.tls_config(tls.config()).map_err(unreachable)?;
        }
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let mut client = Self { channel, token: None };
        if let Some((name, password)) = options.user.clone() {
            let login = AuthenticateRequest { name, password };
            let login = client.ask("/etcdserverpb.Auth/Authenticate", login).await;
            client.token = token(login)?;
        }
        Ok(client)
    }

    /// One question, one answer.
    pub(super) async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(self.request(question), PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    }

    /// One question, and one answer whose fields `take` is given while they come.
    pub(super) async fn read(
        &self,
        path: &'static str,
        question: &impl Message,
        take: impl FnMut(Field<'_>) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let mut request = answer::sent(question);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = PathAndQuery::from_static(path).into();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.metadata().into_headers();
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut channel = self.channel.clone();
        let failed = |error: tonic::transport::Error| Status::from_error(error.into());
        poll_fn(|cx| channel.poll_ready(cx)).await.map_err(failed)?;
        answer::read(channel.call(request).await.map_err(failed)?, take).await
    }

    /// Questions as they come, answers as they come.
    pub(super) async fn talk<Q, A>(
        &self,
        path: &'static str,
        questions: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let answers = grpc.streaming(self.request(questions), PathAndQuery::from_static(path), codec).await?;
        Ok(answers.into_inner())
    }

    /// Starts the watches that `creates` asks for, on one stream.
    pub(super) async fn watch(&self, creates: Vec<WatchRequest>) -> Result<Watching, Status> {
        let (requests, more) = mpsc::channel::<WatchRequest>(8);
        for create in creates {
            requests.try_send(create).map_err(|_| Status::internal("more watches than a stream takes"))?;
        }
        let questions = stream::unfold(more, |mut more| async { more.recv().await.map(|next| (next, more)) });
        let answers = self.talk("/etcdserverpb.Watch/Watch", questions).await?;
        Ok(Watching { requests, answers })
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }

    fn request<Q>(&self, question: Q) -> Request<Q> {
        let mut request = Request::new(question);
        *request.metadata_mut() = self.metadata();
        request
    }

    /// A member without a leader is to say so at once: it would neither renew a lease nor tell of changes.
    fn metadata(&self) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            metadata.insert("token", token.clone());
        }
        metadata
    }
}

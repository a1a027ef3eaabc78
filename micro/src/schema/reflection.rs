//! The client of `grpc.reflection`, v1 and v1alpha, which differ in their name only.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::client::{Grpc, GrpcService};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};
use tower::BoxError;

use super::error::Error;
use super::pool::{Head, MOST_BYTES, MOST_FILES};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// How many questions are on their way at a time.
const AT_A_TIME: usize = 64;

/// What a server says of itself.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) services: Vec<String>,
    /// Each the bytes of a `FileDescriptorProto`; with every file comes what it imports.
    pub(super) files: Vec<Vec<u8>>,
}

/// Asks for everything, for `limit` at most.
pub(super) async fn ask<S>(service: S, limit: Duration) -> Result<Found, Error>
where
    S: GrpcService<tonic::body::Body> + Clone,
    S::Error: Into<BoxError>,
    S::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let both = async {
        let first = match talk(service.clone(), V1).await {
            Err(Trouble::Status(status)) if may_know_v1alpha(&status) => status,
            done => return done.map_err(Trouble::into_error),
        };
        match talk(service, V1ALPHA).await {
            Err(Trouble::Status(status)) if status.code() == Code::Unimplemented => {
                let unknown = first.code() == Code::Unimplemented;
                Err(if unknown {
                    Error::NoReflection(Box::new(status))
                } else {
                    Error::Reflection(Box::new(first))
                })
            }
            done => done.map_err(Trouble::into_error),
        }
    };
    let late =
        |_| Error::Reflection(Box::new(Status::deadline_exceeded(format!("no answer within {limit:?}"))));
    timeout(limit, both).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

/// Proxies and older servers have many ways to say that they do not know a service; that nobody was reached at
/// all is the client's own word, and has a cause.
fn may_know_v1alpha(status: &Status) -> bool {
    let local = std::error::Error::source(status).is_some();
    match status.code() {
        Code::Unimplemented => true,
        Code::DeadlineExceeded => false,
        Code::Unavailable => !local,
        _ => true,
    }
}

enum Trouble {
    Status(Status),
    Other(Error),
}

impl Trouble {
    fn into_error(self) -> Error {
        match self {
            Self::Status(status) => Error::Reflection(Box::new(status)),
            Self::Other(error) => error,
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// One conversation, over which everything is asked.
async fn talk<S>(service: S, path: &'static str) -> Result<Found, Trouble>
where
    S: GrpcService<tonic::body::Body>,
    S::Error: Into<BoxError>,
    S::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (questions, asked) = mpsc::channel(AT_A_TIME);
    let asked = stream::unfold(asked, |mut asked| async move { Some((asked.recv().await?, asked)) });
    let mut grpc = Grpc::new(service).max_decoding_message_size(MOST_BYTES);
    let ready = grpc.ready().await.map_err(|error| Status::from_error(error.into()));
    ready?;
    // Most servers answer nothing before the first question has come.
    let first = question(MessageRequest::ListServices(String::new()));
    questions.send(first).await.ok();
    let codec: ProstCodec<ServerReflectionRequest, ServerReflectionResponse> = ProstCodec::default();
    let answers =
        grpc.streaming(Request::new(asked), PathAndQuery::from_static(path), codec).await?.into_inner();
    let mut talk = Talk { questions, answers };
    let services: Vec<String> = match talk.answer().await? {
        MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|s| s.name).collect(),
        MessageResponse::ErrorResponse(error) => {
            return Err(status(error.error_code, error.error_message).into());
        }
        _ => return Err(Status::internal("an answer that fits no question").into()),
    };
    let files = talk.files(&services).await?;
    Ok(Found { services, files })
}

fn question(what: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(what) }
}

fn status(code: i32, message: String) -> Status {
    Status::new(Code::from_i32(code), message)
}

struct Talk {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Talk {
    async fn answer(&mut self) -> Result<MessageResponse, Status> {
        let answer = self.answers.message().await?.and_then(|answer| answer.message_response);
        answer.ok_or_else(|| Status::internal("reflection ended in the middle"))
    }

    /// The files of `services` and, again and again, what they import. What the server lists but does not
    /// describe is left out: its own health and reflection services often are.
    async fn files(&mut self, services: &[String]) -> Result<Vec<Vec<u8>>, Trouble> {
        let mut have: HashMap<String, Vec<u8>> = HashMap::new();
        let mut wanted = HashSet::new();
        let mut bytes = 0;
        let mut next: VecDeque<_> =
            services.iter().map(|name| MessageRequest::FileContainingSymbol(name.clone())).collect();
        while !next.is_empty() {
            let batch: Vec<_> = next.drain(..next.len().min(AT_A_TIME)).collect();
            let count = batch.len();
            for one in batch {
                // The channel has room for all of a batch.
                self.questions.send(question(one)).await.ok();
            }
            for _ in 0..count {
                let files = match self.answer().await? {
                    MessageResponse::FileDescriptorResponse(files) => files.file_descriptor_proto,
                    MessageResponse::ErrorResponse(_) => Vec::new(),
                    _ => return Err(Status::internal("an answer that fits no question").into()),
                };
                for file in files {
                    let head = Head::decode(file.as_slice())
                        .map_err(|_| Trouble::Other(Error::invalid("a file that is none")))?;
                    bytes += file.len();
                    let new = have.insert(head.name, file).is_none();
                    if new {
                        let dependencies = head.dependency.into_iter();
                        next.extend(
                            dependencies
                                .filter(|d| wanted.insert(d.clone()))
                                .map(MessageRequest::FileByFilename),
                        );
                    }
                }
                if bytes > MOST_BYTES || have.len() > MOST_FILES || wanted.len() > MOST_FILES {
                    return Err(Trouble::Other(Error::invalid("the server describes more than can be kept")));
                }
            }
            next.retain(
                |one| !matches!(one, MessageRequest::FileByFilename(name) if have.contains_key(name)),
            );
        }
        add_well_known(&mut have, &wanted);
        Ok(have.into_values().collect())
    }
}

/// Some servers leave out what everybody has.
fn add_well_known(have: &mut HashMap<String, Vec<u8>>, wanted: &HashSet<String>) {
    for name in wanted {
        if !have.contains_key(name)
            && name.starts_with("google/protobuf/")
            && let Some(file) = prost_reflect::DescriptorPool::global().get_file_by_name(name)
        {
            have.insert(name.clone(), file.encode_to_vec());
        }
    }
}

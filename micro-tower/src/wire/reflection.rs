//! Asks a gRPC server what it serves: `grpc.reflection.v1`.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use micro_balance::policy::Policy;
use prost::Message as _;
use prost_reflect::{DescriptorPool, prost_types::FileDescriptorProto};
use tonic::Status;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::transcode::Transcoder;
use crate::client::Client;

/// More than any server serves.
const MOST_FILES: usize = 1000;

/// Everything that `client`'s servers say they serve.
pub(super) async fn ask<P: Policy>(client: &Client<P>) -> Result<Transcoder, Status> {
    let mut asked = ServerReflectionClient::new(client.clone());
    let services = match one(&mut asked, MessageRequest::ListServices(String::new())).await? {
        MessageResponse::ListServicesResponse(list) => list.service,
        other => return Err(unexpected(&other)),
    };
    let mut files = Vec::new();
    let mut known = HashSet::new();
    let mut wanted: Vec<MessageRequest> =
        services.into_iter().map(|service| MessageRequest::FileContainingSymbol(service.name)).collect();
    while let Some(next) = wanted.pop() {
        let answer = match one(&mut asked, next).await? {
            MessageResponse::FileDescriptorResponse(answer) => answer,
            other => return Err(unexpected(&other)),
        };
        for bytes in answer.file_descriptor_proto {
            let file = FileDescriptorProto::decode(&bytes[..])
                .map_err(|error| Status::internal(error.to_string()))?;
            if !known.insert(file.name().to_owned()) {
                continue;
            }
            if known.len() > MOST_FILES {
                return Err(Status::resource_exhausted("the server reflects more than 1000 files"));
            }
            let missing = file.dependency.iter().filter(|name| !known.contains(*name));
            wanted.extend(missing.map(|name| MessageRequest::FileByFilename(name.clone())));
            files.push(file);
        }
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Transcoder::of(&pool))
}

/// A stream for each question: the next may be answered by another server.
async fn one<P: Policy>(
    asked: &mut ServerReflectionClient<Client<P>>,
    request: MessageRequest,
) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut answers = asked.server_reflection_info(stream::iter([request])).await?.into_inner();
    let answer = answers.next().await.transpose()?.and_then(|answer| answer.message_response);
    match answer.ok_or_else(|| Status::internal("the server's reflection does not answer"))? {
        MessageResponse::ErrorResponse(error) => {
            Err(Status::new(tonic::Code::from_i32(error.error_code), error.error_message))
        }
        answer => Ok(answer),
    }
}

fn unexpected(answer: &MessageResponse) -> Status {
    Status::internal(format!("the server's reflection answers something else: {answer:?}"))
}

//! One call with messages in and out, over any gRPC client.

use bytes::Bytes;
use futures_core::Stream;
use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::client::{Grpc, GrpcService};
use tonic::{Request, Response, Status, Streaming};
use tower::BoxError;

use super::codec::DynamicCodec;

/// A message that comes back is 64 MiB at most.
pub const MOST_BYTES: usize = 64 << 20;

/// Calls `method`, of whichever kind it is. Metadata and timeout are the request's; unary methods take and give
/// a stream of one message.
///
/// # Errors
///
/// The status that came instead of an answer.
pub async fn invoke<S, M>(
    service: S,
    method: &MethodDescriptor,
    request: Request<M>,
) -> Result<Response<Streaming<DynamicMessage>>, Status>
where
    S: GrpcService<tonic::body::Body>,
    S::Error: Into<BoxError>,
    S::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    M: Stream<Item = DynamicMessage> + Send + 'static,
{
    let mut grpc = Grpc::new(service).max_decoding_message_size(MOST_BYTES);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path =
        PathAndQuery::try_from(path(method)).map_err(|_| Status::internal("the method's name is no path"))?;
    grpc.streaming(request, path, DynamicCodec::new(method.output())).await
}

/// As `/package.Service/Method`.
fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

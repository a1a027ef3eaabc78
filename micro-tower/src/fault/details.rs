//! A fault among the details of a gRPC status, where go-micro's gRPC puts it.

use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::Fault;

/// `google.rpc.Status`, which `grpc-status-details-bin` holds.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `errors.Error` of go-micro.
#[derive(Clone, PartialEq, Message)]
struct Error {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int32, tag = "2")]
    code: i32,
    #[prost(string, tag = "3")]
    detail: String,
    #[prost(string, tag = "4")]
    status: String,
}

const TYPE: &str = "type.googleapis.com/errors.Error";

pub(super) fn details(code: Code, message: String, fault: &Fault) -> Bytes {
    let Fault { id, code: number, detail, status, .. } = fault.clone();
    let value = Error { id, code: number, detail, status }.encode_to_vec().into();
    let any = Any { type_url: TYPE.to_owned(), value };
    Details { code: code.into(), message, details: vec![any] }.encode_to_vec().into()
}

pub(super) fn found_in(details: &[u8]) -> Option<Fault> {
    let details = Details::decode(details).ok()?.details;
    let any = details.iter().find(|any| any.type_url.ends_with("/errors.Error"))?;
    let Error { id, code, detail, status } = Error::decode(any.value.clone()).ok()?;
    Some(Fault { id, code, detail, status, grpc: None })
}

//! Answers to gRPC calls from whoever speaks HTTP and no gRPC: a proxy on the way, or another server than was meant.

use http::{Response, StatusCode, header};
use micro_balance::classify::{grpc_status, is_grpc};
use tonic::{Code, Status};

/// Whether `response` is no answer of gRPC's. A server that only forgot to say so is taken at its word.
pub(super) fn is_foreign<B>(response: &Response<B>) -> bool {
    let headers = response.headers();
    // First what nearly all are told by.
    !is_grpc(headers)
        && (response.status() != StatusCode::OK || headers.contains_key(header::CONTENT_TYPE))
        && grpc_status(headers).is_none()
}

/// What it means for the call.
pub(super) fn status<B>(response: &Response<B>) -> Status {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.map_or_else(|| "no content-type".to_owned(), |kind| format!("the content-type {kind:?}"));
    let status = response.status();
    Status::new(
        code(status),
        format!("the server does not speak gRPC: it answered with HTTP {status} and {kind}"),
    )
}

/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn code(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_proxy_is_no_message() {
        let answer = |status: u16, name: &str, value: &str| {
            Response::builder().status(status).header(name, value).body(()).unwrap()
        };
        for (status, code) in [(200, Code::Unknown), (404, Code::Unimplemented), (503, Code::Unavailable)] {
            let page = answer(status, "content-type", "text/html");
            assert!(is_foreign(&page));
            let status = super::status(&page);
            assert_eq!(status.code(), code);
            assert!(status.message().contains("and the content-type \"text/html\""), "{status:?}");
        }
        assert!(is_foreign(&answer(502, "x", "y")));
        for (status, name, value) in [
            (200, "content-type", "application/grpc+proto"),
            (200, "x", "y"),
            (404, "grpc-status", "5"),
            (415, "content-type", "application/grpc"),
        ] {
            assert!(!is_foreign(&answer(status, name, value)), "{status} {name}");
        }
    }
}

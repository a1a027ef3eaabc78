//! gRPC-Web as browsers and their libraries send it, in the one form that is translated.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::body::Body;
use tower::BoxError;

const BINARY: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");
const TEXT: HeaderValue = HeaderValue::from_static("application/grpc-web-text+proto");

/// Makes `request` a binary one, whose `accept` says which form the answer is to have: that of the request, unless it says
/// another itself. None where its messages are not those of protobuf.
pub(super) fn binary(mut request: Request<Body>) -> Option<Request<Body>> {
    let text = is_text(said(request.headers(), &header::CONTENT_TYPE))?;
    let accept = said(request.headers(), &header::ACCEPT);
    let answer = accept.split(',').find_map(is_text).unwrap_or(text);
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, BINARY);
    headers.insert(header::ACCEPT, if answer { TEXT } else { BINARY });
    if !text {
        return Some(request);
    }
    // Text is longer than what it stands for.
    headers.remove(header::CONTENT_LENGTH);
    Some(request.map(|body| Body::new(StreamBody::new(decoded(body).map_ok(Frame::data)))))
}

fn said<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether the type `kind` is gRPC-Web's text, if it is gRPC-Web with messages of protobuf.
fn is_text(kind: &str) -> Option<bool> {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.strip_prefix("application/grpc-web")? {
        "" | "+proto" => Some(false),
        "-text" | "-text+proto" => Some(true),
        _ => None,
    }
}

/// What the base64 in `body` stands for. Each message may have been written by itself, and be padded.
fn decoded(body: Body) -> impl Stream<Item = Result<Bytes, BoxError>> {
    let start = (body.into_data_stream(), BytesMut::new());
    stream::try_unfold(start, |(mut body, mut text)| async move {
        loop {
            match body.try_next().await? {
                Some(more) => text.extend_from_slice(&more),
                None if text.is_empty() => return Ok(None),
                None => return Err("the base64 of the request breaks off".into()),
            }
            let whole = text.split_to(text.len() / 4 * 4);
            if !whole.is_empty() {
                return Ok(Some((decode(&whole)?, (body, text))));
            }
        }
    })
}

/// What fours of letters stand for.
fn decode(mut fours: &[u8]) -> Result<Bytes, BoxError> {
    let mut data = Vec::with_capacity(fours.len() / 4 * 3);
    while !fours.is_empty() {
        // What is padded ends there, and another begins.
        let padded = fours.iter().position(|letter| *letter == b'=');
        let (one, rest) = fours.split_at(padded.map_or(fours.len(), |at| (at / 4 + 1) * 4));
        BASE64_STANDARD.decode_vec(one, &mut data)?;
        fours = rest;
    }
    Ok(data.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_may_be_padded_each_by_itself() {
        let text = ["AAAAAAMKAWE=", "AAAAAAA=", "AA==", "AAAA"].concat();
        let whole = [&b"\0\0\0\0\x03\x0a\x01a"[..], &[0; 5], &[0], &[0; 3]].concat();
        assert_eq!(decode(text.as_bytes()).unwrap(), whole);
        for wrong in ["A===", "====", "!!!!", "AA=A", "A\n=="] {
            assert!(decode(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn text_may_come_in_any_pieces() {
        for length in 1..=12 {
            let pieces = b"AAAAAAA=AA==".chunks(length).map(Bytes::from_static);
            let body =
                StreamBody::new(stream::iter(pieces.map(|piece| Ok::<_, BoxError>(Frame::data(piece)))));
            let data: Vec<Bytes> = decoded(Body::new(body)).try_collect().await.unwrap();
            assert_eq!(data.concat(), [0; 6], "{length}");
        }
        let cut = decoded(Body::new("AAAAAAA=AA=".to_owned()));
        assert!(cut.try_collect::<Vec<_>>().await.is_err());
    }

    #[test]
    fn an_answer_has_the_form_of_the_request_unless_another_is_wanted() {
        let form = |kind: &str, accept: &str| {
            let request = Request::post("/").header("content-type", kind).header("accept", accept);
            let binary = binary(request.body(Body::empty()).unwrap())?;
            assert_eq!(binary.headers()["content-type"], BINARY);
            Some(binary.headers()["accept"] == TEXT)
        };
        assert_eq!(form("application/grpc-web", "*/*"), Some(false));
        assert_eq!(form("application/grpc-web-text", "*/*"), Some(true));
        assert_eq!(form("Application/gRPC-Web-Text+proto; charset=utf-8", ""), Some(true));
        assert_eq!(form("application/grpc-web", "application/grpc-web-text, */*"), Some(true));
        assert_eq!(form("application/grpc-web-text", "application/grpc-web+proto"), Some(false));
        for other in
            ["application/grpc-web+json", "application/grpc-webx", "application/grpc-web-text+thrift"]
        {
            assert_eq!(form(other, ""), None, "{other}");
        }
    }
}

//! Bodies that are compressed, where they are to be read and not passed on.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tonic::body::Body;

use super::fault::Fault;

/// What the face `id` answers a request whose body it would have to unpack. Nothing is: what is small on its way in
/// stays small. None where the body is as it is.
pub(crate) fn refuse_coded(id: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let coding = headers.get(header::CONTENT_ENCODING)?.to_str().unwrap_or("?");
    if coding.eq_ignore_ascii_case("identity") {
        return None;
    }
    let detail = format!("the body is sent as {coding}, and is read here only as it is");
    let mut response = Fault::new(id, StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).response();
    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_compressed_is_refused() {
        let answer = |coding: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(coding))]);
            refuse_coded("go.micro.api", &headers).map(|response| response.status().as_u16())
        };
        assert_eq!((answer("identity"), answer("gzip"), answer("gzip, br")), (None, Some(415), Some(415)));
        assert!(refuse_coded("go.micro.api", &HeaderMap::new()).is_none());
    }
}

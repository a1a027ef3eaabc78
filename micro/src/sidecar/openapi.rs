//! `/openapi.json`: the sidecar for programs.

use axum::response::{IntoResponse, Response};
use http::header;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn the_document_names_every_path_and_says_which_version_it_is() {
        let document: Value = serde_json::from_str(super::DOCUMENT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        for path in ["/registry", "/rpc", "/broker", "/health", "/openapi.json", "/{service}/{method}"] {
            assert!(paths.contains(&path), "{path}");
        }
    }
}

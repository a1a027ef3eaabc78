//! What pages need beside themselves, carried in the binary.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, header};

/// An asset: its name in paths, its type, its bytes. The version in paths makes a new binary's assets new.
const ASSETS: [(&str, &str, &[u8]); 3] = [
    ("style.css", "text/css; charset=utf-8", include_bytes!("assets/style.css")),
    ("script.js", "text/javascript; charset=utf-8", include_bytes!("assets/script.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
];

/// The path of the asset `name`.
pub(super) fn path(name: &str) -> String {
    format!("/assets/{}/{name}", stamp())
}

/// Tells these assets from those of every other build.
fn stamp() -> &'static str {
    static STAMP: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| super::live::id("v", ASSETS));
    &STAMP
}

/// `GET /favicon.ico`, which browsers ask for on pages of web apps that name no icon.
pub(super) async fn icon() -> Redirect {
    Redirect::temporary(&path("icon.svg"))
}

/// The same where the dashboard's assets are not.
pub(super) async fn own_icon() -> Response {
    get(Path((stamp().to_owned(), "icon.svg".to_owned()))).await
}

/// `GET /assets/{stamp}/{name}`.
pub(super) async fn get(Path((asked, name)): Path<(String, String)>) -> Response {
    let Some((_, kind, bytes)) = ASSETS.into_iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let keep = if asked == stamp() { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], bytes).into_response()
}

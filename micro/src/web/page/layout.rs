//! What all pages have around them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use crate::web::assets;
use crate::web::view::View;

/// Where in the menu a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Services,
    Topology,
    Call,
    Events,
    Tap,
    Registry,
    Terminal,
    None,
}

const TABS: [(Tab, &str, &str); 7] = [
    (Tab::Services, "/", "Services"),
    (Tab::Topology, "/topology", "Topology"),
    (Tab::Call, "/call", "Call"),
    (Tab::Events, "/events", "Events"),
    (Tab::Tap, "/tap", "Tap"),
    (Tab::Registry, "/registry", "Registry"),
    (Tab::Terminal, "/cli", "Terminal"),
];

/// A page: `body` below the heading `title`.
pub(super) fn layout(view: &View, tab: Tab, title: &str, body: &Markup) -> Markup {
    let menu = html! {
        a .brand href="/" { "Micro" }
        @for (each, path, name) in TABS {
            @if each == tab { a href=(path) aria-current="page" { (name) } } @else { a href=(path) { (name) } }
        }
        @if view.login.is_some() && tab != Tab::None {
            form method="post" action="/logout" { button .plain type="submit" { "Log out" } }
        }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Micro" }
                link rel="stylesheet" href=(assets::path("style.css"));
                link rel="icon" href=(assets::path("icon.svg"));
                script defer src=(assets::path("script.js")) {}
            }
            body {
                a .skip href="#main" { "Skip to content" }
                header { nav aria-label="Pages" { (menu) } }
                main #main tabindex="-1" { h1 { (title) } (body) }
            }
        }
    }
}

/// The line that says whether what is shown is up to date.
pub(super) fn status(view: &View) -> Markup {
    html! {
        p .status role="status" {
            span #status { "As of now." } " Registry: " span .mono { (view.context.url()) }
        }
    }
}

/// The line that says through whom requests are seen: an element called `seen`.
pub(super) fn seen(view: &View) -> Markup {
    let feeds = view.feeds.connected();
    html! {
        p #seen .quiet {
            "Requests are seen that pass through this dashboard"
            @match feeds {
                0 => "; no gateway or sidecar in the registry lets itself be followed.",
                1 => " and one gateway or sidecar.",
                _ => { " and " (feeds) " gateways and sidecars." }
            }
        }
    }
}

/// The answer where there is no such page.
pub(in crate::web) fn missing(view: &View, what: &str) -> Response {
    let body = html! { p { (what) } p { a href="/" { "All services" } } };
    (StatusCode::NOT_FOUND, layout(view, Tab::None, "Not found", &body)).into_response()
}

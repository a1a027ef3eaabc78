//! The web apps of a registry, and the origin that is theirs.
//!
//! A page may do at its own origin whatever its user may. So that an app cannot use the dashboard in its user's name,
//! browsers are sent to another origin for its pages: the same host, at another port.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Uri, header};

use crate::command::Context;
use crate::proxy::{Directory, Forwarding, Origins, Tunnels, for_many};
use crate::traffic::Recorder;

/// What errors come from.
pub(super) const ID: &str = "go.micro.web";
/// How long an app may take to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// WebSockets at a time.
const TUNNELS: usize = 1024;

/// The web apps, and how requests get to them.
#[derive(Clone, Debug)]
pub(super) struct Apps {
    pub(super) directory: Directory,
    pub(super) forwarding: Forwarding,
    pub(super) origin: Option<Origin>,
}

/// Where browsers find the pages of apps.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// At this port of the host that they asked.
    Port(u16),
    /// At this URL, without a path: what a proxy in front has for it.
    Url(Arc<str>),
}

impl Apps {
    /// The web apps of the registry of `context`, of whose requests `recorder` is told.
    pub(super) fn new(context: &Context, recorder: Recorder, origin: Option<Origin>) -> Self {
        let directory = Directory::builder(context.registry().clone());
        let directory = directory.connector(for_many(context.connector().clone())).recorder(recorder).build();
        let forwarding = Forwarding {
            id: ID,
            timeout: ANSWER_WITHIN,
            origins: Origins::default(),
            tunnels: Tunnels::new(TUNNELS),
            resend: None,
        };
        Self { directory, forwarding, origin }
    }

    /// The origin of the apps for whoever sent `headers`, as `http://localhost:8085`.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<String> {
        match self.origin.as_ref()? {
            Origin::Url(url) => Some(url.to_string()),
            Origin::Port(port) => {
                let host = headers.get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok()?;
                Some(format!("http://{}:{port}", host.host()))
            }
        }
    }

    /// How a request with `headers` is passed on: pages of the apps' origin may open WebSockets.
    pub(super) fn forwarding(&self, headers: &HeaderMap) -> Forwarding {
        Forwarding { origins: Origins::new(self.origin(headers)), ..self.forwarding.clone() }
    }
}

/// Where at `origin` the page `uri` is.
pub(super) fn there(origin: &str, uri: &Uri) -> String {
    format!("{origin}{}", uri.path_and_query().map_or("/", PathAndQuery::as_str))
}

/// Whether a browser asks for a page, or for something that it shows like one, and not for a part of one.
pub(super) fn asks_for_a_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-dest") {
        Some(what) => matches!(what, "document" | "iframe" | "frame" | "fencedframe" | "object" | "embed"),
        // Over plain HTTP browsers do not say it to others than this machine.
        None => text("accept").is_some_and(|accept| accept.contains("text/html")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_is_told_from_its_parts() {
        let asks = |name: &'static str, value: &'static str| {
            asks_for_a_page(&HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]))
        };
        for page in ["document", "iframe", "frame", "object", "embed"] {
            assert!(asks("sec-fetch-dest", page), "{page}");
        }
        for part in ["empty", "script", "style", "image", "websocket"] {
            assert!(!asks("sec-fetch-dest", part), "{part}");
        }
        assert!(asks("accept", "text/html,*/*") && !asks("accept", "*/*"));
    }

    #[test]
    fn a_page_elsewhere_keeps_its_path_and_query() {
        let uri = "/shop//evil.example/?a=b".parse().unwrap();
        assert_eq!(there("http://localhost:8085", &uri), "http://localhost:8085/shop//evil.example/?a=b");
    }
}

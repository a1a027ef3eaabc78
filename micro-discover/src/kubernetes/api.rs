//! Speaks to the API server: pages of a list, lines of a watch. Bounds time and size of everything it reads.
//!
//! kube's own watcher drops response headers, hence `Retry-After`, and never relists after an HTTP 410; this
//! stays below it, at [`kube::Client::send`].

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::{Instant, timeout};

use super::clients::{Clients, Source};
use super::failure::{Failure, Kind};
use super::json::Read;
use super::lines::Lines;
use super::page::{Arriving, Page};
use crate::escape::escape;

#[derive(Debug)]
pub(super) struct Api {
    clients: Clients,
}

/// A kind of object in a namespace, those with some labels.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    /// Before the namespace, such as `/apis/discovery.k8s.io/v1`.
    pub(super) group: &'static str,
    /// None: the client's own.
    pub(super) namespace: Option<String>,
    pub(super) resource: &'static str,
    pub(super) selector: String,
}

const ANSWER: Duration = Duration::from_secs(70);
const CHUNK: Duration = Duration::from_secs(30);
const LARGEST_PAGE: usize = 256 << 20;
const LARGEST_ERROR: usize = 64 << 10;
const MOST_PAGES: usize = 10_000;

impl Api {
    pub(super) fn new(source: Source) -> Self {
        Self { clients: Clients::new(source) }
    }

    async fn send(&self, request: Request<Body>, what: &Collection) -> Result<Response<Body>, Failure> {
        let client = self.clients.get().await?;
        let mut request = request;
        let namespace = what.namespace.as_deref().unwrap_or(client.default_namespace());
        let path = format!("{}/namespaces/{}/{}", what.group, escape(namespace), what.resource);
        let rest = request.uri().to_string();
        let rest = rest.strip_prefix("/?").map(|query| format!("?{query}")).unwrap_or(rest);
        *request.uri_mut() =
            format!("{path}{rest}").parse().map_err(|_| Failure::new(Kind::Other, "bad URI"))?;
        let response = match timeout(ANSWER, client.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                self.clients.reaches_nobody();
                return Err(Failure::unreachable(&error));
            }
            Err(_) => return Err(Failure::new(Kind::Unreachable, "no answer in time")),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            self.clients.refused();
        }
        let (head, body) = response.into_parts();
        let mut said = Vec::new();
        let reading = read(body, LARGEST_ERROR, |bytes| {
            said.extend_from_slice(bytes);
            Ok(())
        });
        // What is not said in time, or to its end, is not believed.
        let is_whole = timeout(Duration::from_secs(5), reading).await.is_ok_and(|read| read.is_ok());
        let said = if is_whole { &*said } else { &[] };
        Err(Failure::answered(head.status, &head.headers, said))
    }

    /// One page: the first, or what follows `next`.
    pub(super) async fn page<T: Read>(&self, what: &Collection, next: &str) -> Result<Page<T>, Failure> {
        let mut query = format!("/?limit=500&labelSelector={}", escape(&what.selector));
        if !next.is_empty() {
            query.push_str(&format!("&continue={}", escape(next)));
        }
        let response = self.send(get(&query, None), what).await?;
        let wrong = |error: serde_json::Error| Failure::new(Kind::Other, format!("a list: {error}"));
        let mut page = Arriving::new();
        let reading = read(response.into_body(), LARGEST_PAGE, |bytes| page.more(bytes).map_err(wrong));
        let read = timeout(ANSWER, reading).await;
        read.unwrap_or_else(|_| Err(Failure::new(Kind::Other, "a list takes too long")))?;
        page.end().map_err(wrong)
    }

    /// Every page, and the version they are of.
    pub(super) async fn list<T: Read>(&self, what: &Collection) -> Result<(Vec<T>, String), Failure> {
        let (mut all, mut next) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let page = self.page(what, &next).await?;
            all.extend(page.items);
            match page.metadata.next {
                end if end.is_empty() => return Ok((all, page.metadata.resource_version)),
                same if same == next => break,
                new => next = new,
            }
        }
        Err(Failure::new(Kind::Other, "a list has no last page"))
    }

    /// Opens a watch that the server closes after `lasting`: from `version` on, or, without one, of the whole
    /// state and what follows.
    pub(super) async fn watch(
        &self,
        what: &Collection,
        version: Option<&str>,
        lasting: Duration,
    ) -> Result<Lines, Failure> {
        let start = match version {
            Some(version) => format!("resourceVersion={}", escape(version)),
            // An empty version asks for the newest state; 0 could be answered from an old cache.
            None => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=".to_owned(),
        };
        let seconds = lasting.as_secs().max(1);
        let query = format!(
            "/?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&{start}&labelSelector={}",
            escape(&what.selector)
        );
        // Newer servers compress each event on its own, which decoders take for the end of the stream.
        let response = self.send(get(&query, Some("identity")), what).await?;
        let deadline = Instant::now() + Duration::from_secs(seconds) + lasting.div_f64(6.0);
        Ok(Lines::new(response.into_body(), deadline))
    }

    /// Sends a strategic merge patch to the object `name`.
    pub(super) async fn patch(&self, what: &Collection, name: &str, body: Vec<u8>) -> Result<(), Failure> {
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("/{}", escape(name)))
            .header(header::CONTENT_TYPE, "application/strategic-merge-patch+json")
            .body(Body::from(body))
            .expect("an encoded name and constant headers make a request");
        self.send(request, what).await.map(drop)
    }
}

fn get(query: &str, encoding: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().uri(query).header(header::ACCEPT, "application/json");
    if let Some(encoding) = encoding {
        request = request.header(header::ACCEPT_ENCODING, encoding);
    }
    request.body(Body::empty()).expect("an encoded query and constant headers make a request")
}

/// Hands a body of at most so many bytes to `take`, as it comes.
async fn read<B>(
    mut body: B,
    most: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    let mut come = 0;
    loop {
        let frame = timeout(CHUNK, body.frame()).await;
        let frame = match frame.map_err(|_| Failure::new(Kind::Other, "an answer stops in its middle"))? {
            None => return Ok(()),
            Some(Err(error)) => return Err(Failure::unreachable(&error)),
            Some(Ok(frame)) => frame,
        };
        let Some(bytes) = frame.data_ref() else { continue };
        come += bytes.len();
        if come > most {
            return Err(Failure::new(Kind::Other, format!("an answer has more than {most} bytes")));
        }
        take(bytes)?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn an_answer_larger_than_any_is_not_read_to_its_end() {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let frames = stream::iter((0..1_000).map(move |_| {
            count.fetch_add(1, Relaxed);
            Ok::<_, kube::Error>(Frame::data(Bytes::from_static(&[b' '; 100])))
        }));
        let failure = read(StreamBody::new(frames), 1_000, |_| Ok(())).await.unwrap_err();
        assert!(failure.message.contains("more than 1000 bytes"), "{failure:?}");
        assert_eq!(sent.load(Relaxed), 11);
        assert!(read(Body::from(vec![b' '; 1_000]), 1_000, |_| Ok(())).await.is_ok());
    }
}

//! Speaks to the API server: pages of a list, lines of a watch. Bounds time and size of everything it reads.
//!
//! kube's own watcher drops response headers, hence `Retry-After`, and never relists after an HTTP 410; this
//! stays below it, at [`kube::Client::send`].

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::{Failure, Kind};
use super::json::Read;
use super::page::{Arriving, Page};

/// Where clients come from.
#[derive(Clone)]
pub(super) enum Source {
    /// In a cluster, or else as kubeconfig says.
    Infer,
    Config(Box<kube::Config>),
    Client(kube::Client),
}

pub(super) struct Api {
    source: Source,
    made: Mutex<Option<Made>>,
}

struct Made {
    client: kube::Client,
    at: Instant,
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
const LARGEST_LINE: usize = 16 << 20;
const LARGEST_ERROR: usize = 64 << 10;
const LARGEST_BATCH: usize = 1 << 20;
const MOST_PAGES: usize = 10_000;
/// How long a client is used at least, though it reaches nobody.
const LEAST_USE: Duration = Duration::from_secs(5);

impl Api {
    pub(super) fn new(source: Source) -> Self {
        Self { source, made: Mutex::new(None) }
    }

    /// A client. What it needs to know is read anew once its token is refused, or it reaches nobody: that may be because the
    /// server shows another certificate, or is somewhere else.
    async fn client(&self) -> Result<kube::Client, Failure> {
        if let Some(made) = &*self.made() {
            return Ok(made.client.clone());
        }
        let wrong = |error: &(dyn std::error::Error + 'static)| Failure {
            kind: Kind::Other,
            ..Failure::unreachable(error)
        };
        let mut config = match &self.source {
            Source::Client(client) => return Ok(client.clone()),
            Source::Config(config) => (**config).clone(),
            Source::Infer => kube::Config::infer().await.map_err(|error| wrong(&error))?,
        };
        // Retries are counted here, not below.
        config.default_retry = false;
        let client = kube::Client::try_from(config).map_err(|error| wrong(&error))?;
        *self.made() = Some(Made { client: client.clone(), at: Instant::now() });
        Ok(client)
    }

    /// Makes the next request with a new client, if this one is as old as that.
    fn forget(&self, age: Duration) {
        self.made().take_if(|made| made.at.elapsed() >= age);
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Option<Made>> {
        self.made.lock().expect("nothing under this lock can panic")
    }

    async fn send(&self, request: Request<Body>, what: &Collection) -> Result<Response<Body>, Failure> {
        let client = self.client().await?;
        let mut request = request;
        let namespace = what.namespace.as_deref().unwrap_or(client.default_namespace());
        let path = format!("{}/namespaces/{}/{}", what.group, encoded(namespace), what.resource);
        let rest = request.uri().to_string();
        let rest = rest.strip_prefix("/?").map(|query| format!("?{query}")).unwrap_or(rest);
        *request.uri_mut() =
            format!("{path}{rest}").parse().map_err(|_| Failure::new(Kind::Other, "bad URI"))?;
        let response = match timeout(ANSWER, client.send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                self.forget(LEAST_USE);
                return Err(Failure::unreachable(&error));
            }
            Err(_) => return Err(Failure::new(Kind::Unreachable, "no answer in time")),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            self.forget(Duration::ZERO);
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
        let mut query = format!("/?limit=500&labelSelector={}", encoded(&what.selector));
        if !next.is_empty() {
            query.push_str(&format!("&continue={}", encoded(next)));
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
            Some(version) => format!("resourceVersion={}", encoded(version)),
            // An empty version asks for the newest state; 0 could be answered from an old cache.
            None => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=".to_owned(),
        };
        let seconds = lasting.as_secs().max(1);
        let query = format!(
            "/?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&{start}&labelSelector={}",
            encoded(&what.selector)
        );
        // Newer servers compress each event on its own, which decoders take for the end of the stream.
        let response = self.send(get(&query, Some("identity")), what).await?;
        let deadline = Instant::now() + Duration::from_secs(seconds) + lasting.div_f64(6.0);
        Ok(Lines { body: response.into_body(), partial: BytesMut::new(), deadline })
    }

    /// Sends a strategic merge patch to the object `name`.
    pub(super) async fn patch(&self, what: &Collection, name: &str, body: Vec<u8>) -> Result<(), Failure> {
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("/{}", encoded(name)))
            .header(header::CONTENT_TYPE, "application/strategic-merge-patch+json")
            .body(Body::from(body))
            .expect("an encoded name and constant headers make a request");
        self.send(request, what).await.map(drop)
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Infer => "inferred".to_owned(),
            Source::Config(config) => config.cluster_url.to_string(),
            Source::Client(_) => "a client".to_owned(),
        };
        f.debug_tuple("Api").field(&source).finish()
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

/// The lines of an open watch.
pub(super) struct Lines {
    body: Body,
    partial: BytesMut,
    deadline: Instant,
}

impl Lines {
    /// All lines that can be read now, at least one; none at the end, however it came.
    pub(super) async fn next(&mut self) -> Result<Vec<Bytes>, Failure> {
        loop {
            let Ok(frame) = timeout_at(self.deadline, self.body.frame()).await else { return Ok(Vec::new()) };
            let mut ended = !self.take(frame);
            let mut read = self.partial.len();
            while !ended && read < LARGEST_BATCH {
                let Some(frame) = self.body.frame().now_or_never() else { break };
                ended = !self.take(frame);
                read = self.partial.len();
            }
            let lines = self.split();
            if !lines.is_empty() || ended {
                return Ok(lines);
            }
            if self.partial.len() > LARGEST_LINE {
                return Err(Failure::new(Kind::Expired, "an event has no end"));
            }
        }
    }

    fn take(&mut self, frame: Option<Result<http_body::Frame<Bytes>, kube::Error>>) -> bool {
        match frame {
            Some(Ok(frame)) => {
                self.partial.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                true
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a watch is cut");
                false
            }
            None => false,
        }
    }

    fn split(&mut self) -> Vec<Bytes> {
        let Some(last) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole = self.partial.split_to(last + 1).freeze();
        let lines = whole.split(|byte| *byte == b'\n').map(|line| whole.slice_ref(line));
        lines.filter(|line| !line.trim_ascii().is_empty()).collect()
    }
}

/// `text` as a part of a path or query.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => all.push(char::from(byte)),
            _ => all.push_str(&format!("%{byte:02X}")),
        }
        all
    })
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

//! The access log: a line per request, as Apache writes it or as JSON.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Request, Response, header};
use serde_json::json;

use crate::proxy::{Peer, REQUEST_ID};

/// Lines that wait to be written; what comes when it is full is left out, and requests go on.
const WAITING: usize = 4096;
/// How often it is said that lines are lost.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Apache's combined format, and behind it the milliseconds and the request's id.
    Combined,
    /// A JSON document per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "combined" => Ok(Self::Combined),
            "json" => Ok(Self::Json),
            _ => Err("an access log is combined or json"),
        }
    }
}

/// Where the lines go. Clones share it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: LogFormat,
    lines: SyncSender<String>,
    left_out: Arc<AtomicU64>,
}

impl AccessLog {
    /// Writes to `out` in a thread of its own, which ends with the last clone. Lines that cannot be written are lost, as are
    /// those of a moment in which 4096 wait; that some are is said once a minute at the most.
    pub fn new(format: LogFormat, out: impl Write + Send + 'static) -> Self {
        let (lines, receiver) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let losses = Losses { left_out: left_out.clone(), said: None };
        std::thread::spawn(move || write(&receiver, out, losses));
        Self { format, lines, left_out }
    }

    /// What is to be remembered of `request`.
    pub(super) fn begin<B>(&self, request: &Request<B>, peer: &Peer) -> Entry {
        let text = |name| {
            let value = request.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        Entry {
            log: self.clone(),
            began: Instant::now(),
            peer: peer.address.map(|address| address.ip()),
            request: format!("{} {} {:?}", request.method(), request.uri(), request.version()),
            referer: text(header::REFERER),
            agent: text(header::USER_AGENT),
            id: text(REQUEST_ID),
        }
    }
}

/// Writes line after line, and flushes when there is none left.
fn write(lines: &Receiver<String>, mut out: impl Write, mut losses: Losses) {
    loop {
        let next = match lines.try_recv() {
            Err(TryRecvError::Empty) => {
                losses.note(out.flush());
                lines.recv().ok()
            }
            next => next.ok(),
        };
        let Some(line) = next else { break };
        losses.note(out.write_all(line.as_bytes()));
    }
    losses.note(out.flush());
}

/// Says that lines are lost.
struct Losses {
    /// How many found no room since that was last said.
    left_out: Arc<AtomicU64>,
    said: Option<Instant>,
}

impl Losses {
    /// Whatever was to be `written` may be lost, and others before it.
    fn note(&mut self, written: std::io::Result<()>) {
        let left_out = self.left_out.load(Relaxed);
        let silent = self.said.is_some_and(|said| said.elapsed() < SAY_EVERY);
        if silent || (written.is_ok() && left_out == 0) {
            return;
        }
        self.said = Some(Instant::now());
        self.left_out.fetch_sub(left_out, Relaxed);
        let error = written.err().map(tracing::field::display);
        tracing::error!(error, left_out, "the access log lacks lines");
    }
}

/// A request that is to be a line.
pub(super) struct Entry {
    log: AccessLog,
    began: Instant,
    peer: Option<IpAddr>,
    request: String,
    referer: String,
    agent: String,
    id: String,
}

impl Entry {
    /// Writes the line: the request was answered by `response`.
    pub(super) fn answered<B: http_body::Body>(self, response: &Response<B>) {
        let (status, bytes) = (response.status().as_u16(), response.body().size_hint().exact());
        let millis = self.began.elapsed().as_secs_f64() * 1000.0;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = match self.log.format {
            LogFormat::Combined => format!(
                "{} - - [{}] \"{}\" {status} {} \"{}\" \"{}\" {millis:.3} {}\n",
                self.peer.map_or("-".to_owned(), |peer| peer.to_string()),
                apache(now),
                quoted(&self.request),
                bytes.map_or("-".to_owned(), |bytes| bytes.to_string()),
                quoted(&self.referer),
                quoted(&self.agent),
                quoted(&self.id),
            ),
            LogFormat::Json => {
                let line = json!({
                    "time": now.as_secs_f64(),
                    "peer": self.peer,
                    "request": self.request,
                    "status": status,
                    "bytes": bytes,
                    "ms": millis,
                    "referer": self.referer,
                    "user_agent": self.agent,
                    "request_id": self.id,
                });
                format!("{line}\n")
            }
        };
        // A line that finds no room is lost; a request that waits for a log would be worse.
        if self.log.lines.try_send(line).is_err() {
            self.log.left_out.fetch_add(1, Relaxed);
        }
    }
}

/// What stands between quotes cannot end them, nor a line.
fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let escape = |c: char| match c {
        '"' => vec!['\\', '"'],
        '\\' => vec!['\\', '\\'],
        c if c.is_control() => c.escape_unicode().collect(),
        c => vec![c],
    };
    text.chars().flat_map(escape).collect()
}

/// `10/Oct/2000:13:55:36 +0000`.
fn apache(since_epoch: Duration) -> String {
    // An HTTP date is `Tue, 10 Oct 2000 13:55:36 GMT`.
    let date = httpdate::fmt_http_date(UNIX_EPOCH + since_epoch);
    let words: Vec<_> = date.split(' ').collect();
    match words.as_slice() {
        [_, day, month, year, time, _] => format!("{day}/{month}/{year}:{time} +0000"),
        _ => date,
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("request", &self.request).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;

    use tonic::body::Body;

    use super::*;

    /// A disk that may be full, and tells of all that it is given.
    struct Disk {
        full: Arc<AtomicBool>,
        given: mpsc::Sender<String>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.given.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
            match self.full.load(Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(bytes.len()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_goes_on_once_its_disk_has_room_again() {
        let (given, told) = mpsc::channel();
        let full = Arc::new(AtomicBool::new(true));
        let log = AccessLog::new(LogFormat::Json, Disk { full: full.clone(), given });
        let answer = |path: &str| {
            let request = Request::get(path).body(()).unwrap();
            log.begin(&request, &Peer::default()).answered(&Response::new(Body::empty()));
            told.recv_timeout(Duration::from_secs(30)).expect("the line is written")
        };
        assert!(answer("/lost").contains("/lost"));
        full.store(false, Relaxed);
        assert!(answer("/kept").contains("/kept"));
    }

    #[test]
    fn nothing_a_client_sends_makes_two_lines_of_one() {
        assert_eq!(quoted("a\"b\\c\nd"), "a\\\"b\\\\c\\u{a}d");
        assert_eq!(quoted(""), "-");
    }

    #[test]
    fn times_are_apaches() {
        assert_eq!(apache(Duration::from_secs(971_186_136)), "10/Oct/2000:13:55:36 +0000");
    }
}

//! The access log: a line per request, as Apache writes it or as JSON.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Request, Response, header};
use serde_json::json;

use crate::proxy::{Peer, REQUEST_ID};

/// Lines that wait to be written; what comes when it is full is left out, and requests go on.
const WAITING: usize = 4096;

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
}

impl AccessLog {
    /// Writes to `out` in a thread of its own, which ends with the last clone.
    pub fn new(format: LogFormat, out: impl Write + Send + 'static) -> Self {
        let (lines, receiver) = sync_channel(WAITING);
        std::thread::spawn(move || write(&receiver, out));
        Self { format, lines }
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
fn write(lines: &Receiver<String>, mut out: impl Write) {
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                let flushed = out.flush();
                match (flushed, lines.recv()) {
                    (Ok(()), Ok(line)) => line,
                    (Err(_), _) | (_, Err(RecvError)) => break,
                }
            }
        };
        if out.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    let _ = out.flush();
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
        let _ = self.log.lines.try_send(line);
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
    use super::*;

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

//! One server as a process of its own, which treats requests as it is told on standard input.

use std::{
    fmt,
    io::{BufRead as _, Write as _, stdin, stdout},
    panic::resume_unwind,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header::CONTENT_LENGTH};
use http_body::Frame;
use http_body_util::StreamBody;
use micro_discover::Service as Record;
use micro_tower::Server;
use tonic::body::Body;
use tower::{BoxError, service_fn};

/// The name that nodes are announced by.
pub(crate) const SERVICE: &str = "faults";

/// How a node treats requests. Said, and read, as a word and a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    /// Answers after so many milliseconds.
    Answers(u64),
    /// Says 503 to this part of them.
    Refuses(f64),
    /// Carries this part of them out, and breaks off instead of answering.
    Resets(f64),
    /// Takes them and never answers.
    Hangs,
    /// Answers at once, a byte each half second.
    Drips,
}

impl fmt::Display for Mood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers(ms) => write!(f, "answers {ms}"),
            Self::Refuses(part) => write!(f, "refuses {part}"),
            Self::Resets(part) => write!(f, "resets {part}"),
            Self::Hangs => f.write_str("hangs 0"),
            Self::Drips => f.write_str("drips 0"),
        }
    }
}

impl FromStr for Mood {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let (word, number) = line.trim().split_once(' ').context("a mood is a word and a number")?;
        Ok(match word {
            "answers" => Self::Answers(number.parse()?),
            "refuses" => Self::Refuses(number.parse()?),
            "resets" => Self::Resets(number.parse()?),
            "hangs" => Self::Hangs,
            "drips" => Self::Drips,
            other => anyhow::bail!("no mood is called {other}"),
        })
    }
}

/// What a node says on standard output of a request.
#[derive(Clone, Copy, Debug)]
enum Word {
    Did,
    Refused,
    Dropped,
}

/// Serves until SIGTERM, or the end of standard input. Says on standard output where it listens, and what it did.
pub(crate) async fn serve(registry: Option<&str>) -> anyhow::Result<()> {
    let mood = Arc::new(Mutex::new(Mood::Answers(2)));
    let told = mood.clone();
    // A thread of its own, as reading standard input cannot be interrupted.
    std::thread::spawn(move || obey(&told));
    let mut server = Server::new().propagation(Duration::from_millis(300)).ttl(Duration::from_secs(5));
    if let Some(url) = registry {
        server = server.announce(micro_discover::open(url)?, Record::new(SERVICE));
    }
    let bound = server.bind().await?;
    println!("at {}", bound.local_address());
    let service = service_fn(move |request| answer(mood.clone(), request));
    Ok(bound.serve(service).await?)
}

/// Follows each line, and goes with whoever writes them.
fn obey(mood: &Mutex<Mood>) {
    for line in stdin().lock().lines().map_while(Result::ok) {
        if let Ok(told) = line.parse() {
            *mood.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
    }
    std::process::exit(0);
}

async fn answer(mood: Arc<Mutex<Mood>>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let number = request.headers().get("x-call").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut told = Told { number: number.unwrap_or(u64::MAX), done: false };
    let mood = *mood.lock().unwrap_or_else(PoisonError::into_inner);
    let mut response = Response::new(Body::new(told.number.to_string()));
    match mood {
        Mood::Refuses(part) if fastrand::f64() < part => {
            told.say(Word::Refused);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(response);
        }
        Mood::Answers(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Mood::Hangs => std::future::pending().await,
        Mood::Drips => {
            let length = told.number.to_string().len();
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            *response.body_mut() = dripping(told.number);
        }
        Mood::Refuses(_) | Mood::Resets(_) => tokio::time::sleep(Duration::from_millis(2)).await,
    }
    told.say(Word::Did);
    match mood {
        // A service that fails is answered for by its server: only a panic breaks off.
        Mood::Resets(part) if fastrand::f64() < part => resume_unwind(Box::new("told to break off")),
        _ => Ok(response),
    }
}

/// The same answer, a byte each half second.
fn dripping(number: u64) -> Body {
    let bytes = number.to_string().into_bytes().into_iter();
    let drops = stream::unfold(bytes, async |mut bytes| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let byte = bytes.next()?;
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from(vec![byte]))), bytes))
    });
    Body::new(StreamBody::new(drops))
}

/// Says once what became of a request.
struct Told {
    number: u64,
    done: bool,
}

impl Told {
    fn say(&mut self, word: Word) {
        self.done = true;
        // Whoever listened may be gone, and then this process is about to go too.
        let _ = writeln!(stdout().lock(), "{} {}", format!("{word:?}").to_lowercase(), self.number);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.done {
            self.say(Word::Dropped);
        }
    }
}

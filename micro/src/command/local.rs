//! What an argument names on the machine of whoever gives it: `@file`, or `-` for standard input.

use std::io::{self, BufReader, IsTerminal, Read};

use bytes::Bytes;
use futures_util::stream;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tower::BoxError;

use super::failure::{Failure, Kind};
use crate::call::Documents;

/// What is read at once, at most: a message of 64 MiB, which is what a call may take, in base64 and some more.
const LARGEST: u64 = 96 << 20;

/// Where an argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// It is what it says itself.
    Here(&'a str),
    File(&'a str),
    Input,
}

pub(super) fn place(argument: &str) -> Place<'_> {
    match argument.strip_prefix('@') {
        Some("-") => Place::Input,
        Some(path) => Place::File(path),
        None if argument == "-" => Place::Input,
        None => Place::Here(argument),
    }
}

/// Whether `argument` stands for standard input.
pub(super) fn is_input(argument: &str) -> bool {
    place(argument) == Place::Input
}

/// Whether somebody types at a terminal what is behind `argument`.
pub(super) fn is_typed(argument: Option<&String>) -> bool {
    argument.is_some_and(|argument| is_input(argument)) && io::stdin().is_terminal()
}

/// The text behind `argument`; `what` is what it is to be, as "the record".
pub(super) async fn text(argument: &str, what: &str) -> Result<String, Failure> {
    String::from_utf8(bytes(argument, what).await?).map_err(|error| {
        Failure::new(Kind::Usage, format!("{what} from {} is no text", from(argument))).source(error)
    })
}

/// The bytes behind `argument`, whatever they are.
pub(super) async fn bytes(argument: &str, what: &str) -> Result<Vec<u8>, Failure> {
    let read = match place(argument) {
        Place::Here(text) => return Ok(text.as_bytes().to_vec()),
        Place::File(path) => {
            let path = path.to_owned();
            blocking(move || std::fs::File::open(path).and_then(limited)).await
        }
        Place::Input => blocking(|| limited(io::stdin().lock())).await,
    };
    let cannot = || format!("cannot read {what} from {}", from(argument));
    read.map_err(|error| Failure::new(Kind::Usage, cannot()).source(error))
}

/// Where an argument points to, in words.
fn from(argument: &str) -> String {
    match place(argument) {
        Place::Here(_) => "the argument".to_owned(),
        Place::File(path) => format!("the file {path:?}"),
        Place::Input => "standard input".to_owned(),
    }
}

/// The bytes of the file `path`.
pub(super) async fn file(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let path = path.to_owned();
    let shown = format!("cannot read {path:?}");
    let read = blocking(move || std::fs::read(path)).await;
    read.map_err(|error| Failure::new(Kind::Usage, shown).source(error))
}

/// The JSON documents on standard input, each as soon as it is whole.
pub(super) fn input() -> Documents {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, BoxError>>(16);
    // A thread of its own: a read of standard input cannot be broken off, and must not hold the end up.
    std::thread::spawn(move || {
        let reader = BufReader::new(io::stdin());
        for document in serde_json::Deserializer::from_reader(reader).into_iter::<Box<RawValue>>() {
            let document =
                document.map(|d| Bytes::from(Box::<str>::from(d).into_string())).map_err(BoxError::from);
            let broken = document.is_err();
            if sender.blocking_send(document).is_err() || broken {
                return;
            }
        }
    });
    let each = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    Documents::new(each)
}

/// Reads in a thread of its own, for the same reason.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(read()).ok());
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the reader is gone")))
}

fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = from.take(LARGEST + 1).read_to_end(&mut content)?;
    if read as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {LARGEST} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_itself_a_file_or_standard_input() {
        assert_eq!(place("{}"), Place::Here("{}"));
        assert_eq!(place("@a"), Place::File("a"));
        assert_eq!((place("-"), place("@-")), (Place::Input, Place::Input));
    }

    #[test]
    fn what_is_longer_than_the_limit_is_not_read() {
        assert!(limited(io::repeat(b'x')).unwrap_err().to_string().contains("more than"));
        assert_eq!(limited(&b"{}"[..]).unwrap(), b"{}");
    }
}

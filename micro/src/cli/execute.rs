//! Runs a command and writes its replies.

use std::future::pending;
use std::io::{self, ErrorKind, Write};

use tokio::sync::mpsc;

use super::progress::{Line, waiting};
use super::reader;
use crate::command::{Command, Context, Failure, Kind, Replies, Reply, Request};
use crate::show::{Format, Show};

/// How replies are to be written.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) format: Format,
    /// Whether whoever asked chose the format.
    pub(super) chosen: bool,
    pub(super) fields: Vec<String>,
    pub(super) colour: bool,
    pub(super) several: bool,
    /// Whether all it does is to be read: it ends when nobody reads it.
    pub(super) read: bool,
}

impl Style {
    /// The style of `request`'s replies: what is asked for in the original's words is answered in them.
    pub(super) fn of(mut self, request: &Request) -> Self {
        if request.is_original() && !self.chosen && self.format == Format::Table {
            self.format = Format::Original;
        }
        self.several = request.gives_several();
        self.read = true;
        self
    }
}

/// Runs `command`, and writes what it gives as it gives it.
pub(super) async fn execute(command: &dyn Command, context: &Context, style: Style) -> Result<(), Failure> {
    let (replies, shown) = Replies::channel();
    let work = async move {
        let done = command.run(context, &replies).await;
        // Closes the channel, and so ends the writing.
        drop(replies);
        done
    };
    let (done, written) =
        tokio::join!(work, write(shown, style, command.shows_that_it_waits(), context.url()));
    match done {
        Err(failure) if failure.kind() != Kind::Unread => Err(failure),
        _ => written,
    }
}

/// Writes `replies` as they come; with `progress`, also that none has come yet.
async fn write(
    mut replies: mpsc::Receiver<Reply>,
    style: Style,
    progress: bool,
    registry: &str,
) -> Result<(), Failure> {
    let for_people = matches!(style.format, Format::Table | Format::Wide);
    let mut show = Show::new(style.format).colour(style.colour).several(style.several).fields(style.fields);
    let mut patient = progress && for_people;
    let mut line = Line::default();
    let gone = async { if style.read { reader::gone().await } else { pending().await } };
    tokio::pin!(gone);
    loop {
        let reply = tokio::select! {
            biased;
            reply = next(&mut replies, patient) => reply,
            () = &mut gone => None,
        };
        let Some(reply) = reply else { break };
        if let Reply::Progress(progress) = &reply {
            if for_people {
                line.say(&progress.said);
            }
            continue;
        }
        line.clear();
        // Who gives answers as they come says enough by them, once there is one.
        patient &= !style.several;
        if matches!(&reply, Reply::Services(services) if services.is_empty()) && for_people {
            aside(&format!("no services in the registry {registry}\n"));
        }
        if matches!(&reply, Reply::Contexts(contexts) if contexts.is_empty()) && for_people {
            aside("no contexts: micro context add NAME --registry URL makes one\n");
        }
        if matches!(reply, Reply::Metadata(_)) {
            // Beside the data, in every format.
            aside(&Show::new(Format::Table).text(&reply)?);
            continue;
        }
        let gone = written(
            io::stdout().write_all(show.text(&reply)?.as_bytes()).and_then(|()| io::stdout().flush()),
        )?;
        if gone {
            break;
        }
    }
    Ok(())
}

async fn next(replies: &mut mpsc::Receiver<Reply>, patient: bool) -> Option<Reply> {
    if patient { waiting(replies.recv()).await } else { replies.recv().await }
}

fn aside(text: &str) {
    // Nobody is left to be told.
    io::stderr().write_all(text.as_bytes()).ok();
}

/// Whether the reader has gone, which is its right.
fn written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(Failure::new(Kind::Other, "cannot write to standard output").source(error)),
    }
}

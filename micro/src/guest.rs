//! Runs commands for somebody who is not at this machine's keyboard: in a chat, or at a terminal in a page.
//!
//! They name no files of this machine, change nothing unless they may, and do not go on for ever.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::command::{Context, Failure, Kind, Replies, Request, parse};
use crate::show::{Format, Show};

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum May {
    /// Look.
    Read,
    /// Look, call, publish, register and deregister.
    Change,
}

/// What it takes to run `request`.
pub fn takes(request: &Request) -> May {
    match request {
        Request::Call(_)
        | Request::Stream(_)
        | Request::Bench(_)
        | Request::Publish(_)
        | Request::Register(_)
        | Request::Deregister(_) => May::Change,
        Request::Registry(registered) if !registered.only_looks() => May::Change,
        // A member of a group takes events away from the others.
        Request::Subscribe(subscribe) if subscribe.group.is_some() => May::Change,
        Request::List(_)
        | Request::Registry(_)
        | Request::Get(_)
        | Request::Describe(_)
        | Request::Subscribe(_)
        | Request::Watch(_)
        | Request::Tap(_)
        | Request::Health(_)
        | Request::Stats(_)
        | Request::Top(_) => May::Read,
        // A command that nobody has thought about here is not for everybody.
        #[allow(unreachable_patterns, reason = "the list grows")]
        _ => May::Change,
    }
}

/// Runs the command that `line` says, for `limit` at most, and gives its text to `out` as it comes.
///
/// What goes on until it is stopped is stopped after `limit`, and that is its success.
///
/// # Errors
///
/// Those of the command; [`Kind::Usage`] for a line that is none; [`Kind::Denied`] where `may` is not enough.
pub async fn run(
    line: &str,
    context: &Context,
    may: May,
    limit: Duration,
    out: &mpsc::Sender<String>,
) -> Result<(), Failure> {
    let request = parse(line)?;
    if takes(&request) > may {
        let word = line.split_whitespace().next().unwrap_or_default();
        return Err(Failure::new(Kind::Denied, format!("you may not {word} anything here")));
    }
    let command = request.command();
    let context = context.clone().for_guests().until(sleep(limit));
    let (replies, mut given) = Replies::channel();
    let work = async {
        let done = if command.is_endless() {
            command.run(&context, &replies).await
        } else {
            let late = || Failure::new(Kind::Unavailable, format!("it took longer than {limit:?}"));
            tokio::time::timeout(limit, command.run(&context, &replies)).await.unwrap_or_else(|_| Err(late()))
        };
        // Closes the channel, and so ends the writing.
        drop(replies);
        done
    };
    // It takes them along to its end: a command whose replies nobody reads any more is told so.
    let write = async move {
        let mut show = Show::new(Format::Table).several(command.is_endless());
        while let Some(reply) = given.recv().await {
            let text = show.text(&reply)?;
            if out.send(text).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let (done, written) = tokio::join!(work, write);
    match done {
        Err(failure) if failure.kind() != Kind::Unread => Err(failure),
        _ => written,
    }
}

/// A failure in lines, as a chat or a page shows it.
pub fn told(failure: &Failure) -> String {
    let mut text = crate::causes::chain(failure);
    for detail in failure.what_more() {
        text.push_str(&format!("\ndetail: {detail}"));
    }
    for (word, what) in [("tried", failure.what_was_tried()), ("try", failure.what_to_try())] {
        if let Some(what) = what {
            text.push_str(&format!("\n{word}: {what}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_command_ends_when_nobody_reads_on() {
        let context = Context::open("memory:").unwrap().with_broker(Arc::new(micro_broker::Memory::new()));
        let (out, read) = mpsc::channel(1);
        drop(read);
        let began = Instant::now();
        let limit = Duration::from_secs(60);
        let done = run("publish orders tick --count 1000", &context, May::Change, limit, &out).await;
        assert!(done.is_ok(), "{done:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

//! `cli`: commands, one after the other.

use std::io::{self, BufRead, IsTerminal, Write};

use tokio::sync::mpsc;

use super::execute::{Style, execute};
use super::report::report;
use super::signals;
use crate::command::{Context, Failure, Kind, Request, parse_words};

/// Reads lines until there are no more, or one says quit; runs each, and goes on after a failure. Ctrl-C ends the
/// command that runs, not the shell. Answers with the exit code of the last command.
pub(super) async fn shell(context: &Context, style: &Style, colours: bool) -> u8 {
    let (mut lines, done) = lines(io::stdin().is_terminal());
    let mut last = 0;
    while let Some(line) = lines.recv().await {
        let words = shlex::split(&line).unwrap_or_else(|| vec![line.clone()]);
        match words.first().map(String::as_str) {
            None => {}
            Some("quit" | "exit") => return last,
            Some(_) => {
                let ran = one(words, context, style).await;
                last = ran.map_or_else(|failure| report(&failure, colours), |()| 0);
            }
        }
        if done.send(()).await.is_err() {
            break;
        }
    }
    last
}

async fn one(mut words: Vec<String>, context: &Context, style: &Style) -> Result<(), Failure> {
    match words[0].as_str() {
        "?" => "help".clone_into(&mut words[0]),
        "ls" => "list".clone_into(&mut words[0]),
        _ => {}
    }
    if words[0] != "help" && !Request::has(&words[0]) {
        let failure = Failure::new(Kind::Usage, "unknown command").tried(format!("to run {:?}", words[0]));
        return Err(failure.hint("help"));
    }
    let request = parse_words(words)?;
    let context = context.clone().until(signals::stop()?);
    execute(request.command(), &context, style.clone().of(&request)).await
}

/// Lines as they are typed; the next is asked for when the last is said to be done with. A thread of its own reads,
/// for that cannot be broken off.
fn lines(terminal: bool) -> (mpsc::Receiver<String>, mpsc::Sender<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let (done, mut told) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            if terminal {
                io::stdout().write_all(b"micro> ").and_then(|()| io::stdout().flush()).ok();
            }
            let mut line = String::new();
            match input.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if sender.blocking_send(line).is_err() || told.blocking_recv().is_none() {
                return;
            }
        }
    });
    (receiver, done)
}

//! `cli`: commands, one after the other.

use tokio::runtime::Handle;

use super::execute::{Style, execute};
use super::prompt::lines;
use super::report::report;
use super::signals;
use super::tab::Tab;
use crate::command::{Context, Failure, Kind, Request, parse_words};

/// Reads lines until there are no more, or one says quit; runs each, and goes on after a failure. Ctrl-C ends the
/// command that runs, not the shell. Answers with the exit code of the last command.
pub(super) async fn shell(context: &Context, style: &Style, colours: bool) -> u8 {
    let (mut lines, done) = lines(Tab::new(context.registry().clone(), Handle::current()));
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

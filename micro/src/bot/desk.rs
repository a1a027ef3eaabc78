//! Where what was heard is answered: once, in its turn, by those who may.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::answer::Answer;
use super::audit::Audit;
use super::builtin;
use super::heard::{Heard, Speaker};
use super::provided::Provided;
use super::recent::{Recent, Unheard};
use super::rights::Rights;
use crate::command::{Context, Kind, parse};
use crate::guest::{self, May};

/// Commands that run at a time; more wait.
const AT_A_TIME: usize = 32;
/// Messages that wait for that; more are told to come again.
const WAITING: usize = 256;
/// How much a command may write.
const MOST_BYTES: usize = 1 << 20;
/// A longer message is no command.
const LONGEST: usize = 16 << 10;

/// Answers what is heard.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) context: Context,
    pub(super) provided: Provided,
    pub(super) rights: Rights,
    pub(super) audit: Option<Audit>,
    pub(super) limit: Duration,
    pub(super) recent: Mutex<Recent>,
}

impl Desk {
    /// Answers until nobody listens any more, or this is dropped; commands that run are dropped with it.
    pub(super) async fn run(self, mut heard: mpsc::Receiver<Heard>) {
        let desk = Arc::new(self);
        let permits = Arc::new(Semaphore::new(AT_A_TIME));
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = tasks.join_next() => {}
                next = heard.recv() => {
                    let Some(next) = next else { break };
                    if tasks.len() >= AT_A_TIME + WAITING {
                        let busy = Answer::text("too much is going on: ask again in a moment");
                        // Who asked may have gone.
                        let _ = next.answers.try_send(busy);
                        continue;
                    }
                    let (desk, permits) = (desk.clone(), permits.clone());
                    tasks.spawn(async move {
                        let _permit = permits.acquire_owned().await;
                        desk.take(next).await;
                    });
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Answers one message, and writes down what came of it.
    async fn take(&self, heard: Heard) {
        let text = heard.text.trim();
        let began = Instant::now();
        let noted =
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).hear(&heard.id, &heard.speaker);
        let (outcome, answer) = match noted {
            Err(Unheard::Again | Unheard::StillTooMuch) => return,
            Err(Unheard::TooMuch) => {
                ("too much", Some(Answer::text("that is too much at once: wait a moment")))
            }
            Ok(()) if text.len() > LONGEST => {
                ("too long", Some(Answer::text("that is too long for a command")))
            }
            Ok(()) => self.answer(text, &heard.speaker).await,
        };
        if let Some(audit) = self.audit.as_ref().filter(|_| outcome != "no command") {
            audit.write(&heard.speaker, text, outcome, began.elapsed());
        }
        if let Some(answer) = answer {
            // Who asked may have gone.
            let _ = heard.answers.send(answer).await;
        }
    }

    async fn answer(&self, line: &str, speaker: &Speaker) -> (&'static str, Option<Answer>) {
        let Some(may) = self.rights.of(speaker) else {
            return ("denied", Some(Answer::text("you may not use this bot here")));
        };
        if let Some(answer) = builtin::answer(line) {
            return ("done", Some(answer));
        }
        if builtin::word(line, "help") == Some("") {
            return ("done", Some(self.help().await));
        }
        if let Some(service) = self.provided.find(line).await {
            // What a service does with it nobody here can know.
            if may < May::Change {
                return ("denied", Some(Answer::text("you may not have services do things here")));
            }
            return match self.provided.exec(&service, line, self.limit).await {
                Ok(answer) => ("done", Some(answer)),
                Err(why) => ("failed", Some(Answer::text(format!("error executing cmd: {why}")))),
            };
        }
        self.command(line, speaker, may).await
    }

    /// Runs a command of the toolkit. What is none is not answered in a room: people talk there.
    async fn command(&self, line: &str, speaker: &Speaker, may: May) -> (&'static str, Option<Answer>) {
        let known = match parse(line) {
            Ok(_) => true,
            Err(failure) if failure.kind() == Kind::Help => {
                return ("done", Some(Answer::output(failure.to_string())));
            }
            Err(_) => self.is_command(line),
        };
        if !known && speaker.room.is_some() {
            return ("no command", None);
        }
        let (sender, mut receiver) = mpsc::channel(16);
        let run = async {
            let done = guest::run(line, &self.context, may, self.limit, &sender).await;
            drop(sender);
            done
        };
        let gather = async {
            let mut text = String::new();
            while let Some(more) = receiver.recv().await {
                text.push_str(&more);
                if text.len() > MOST_BYTES {
                    break;
                }
            }
            // Nobody reads on: the command ends.
            receiver.close();
            text
        };
        let (done, text) = tokio::join!(run, gather);
        match done {
            Ok(()) if text.trim().is_empty() => ("done", Some(Answer::text("nothing to show"))),
            Ok(()) => ("done", Some(Answer::output(text))),
            Err(failure) => {
                let outcome = if failure.kind() == Kind::Denied { "denied" } else { "failed" };
                let told = format!("error executing cmd: {}", guest::told(&failure));
                let shown = if text.is_empty() {
                    Answer::text(told)
                } else {
                    Answer::output(format!("{text}{told}"))
                };
                (outcome, Some(shown))
            }
        }
    }

    /// Whether the first word is a command's, so that the rest of the line is a mistake and not talk.
    fn is_command(&self, line: &str) -> bool {
        let word = line.split_whitespace().next().unwrap_or_default();
        matches!(parse(&format!("{word} --help")), Err(failure) if failure.kind() == Kind::Help)
    }

    async fn help(&self) -> Answer {
        let mut lines: Vec<_> =
            builtin::USAGES.iter().map(|(usage, what)| format!("{usage} - {what}")).collect();
        lines.extend(commands());
        lines.sort();
        let provided = self.provided.usages().await;
        lines.extend(provided.into_iter().map(|(usage, what)| format!("{usage} - {what}")));
        Answer::output(lines.join("\n"))
    }
}

/// Usage and description of the toolkit's commands.
fn commands() -> Vec<String> {
    use clap::Subcommand as _;
    let list = crate::command::Request::augment_subcommands(clap::Command::new("micro"));
    let line = |command: &clap::Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("{} - {about}", command.get_name())
    };
    list.get_subcommands().filter(|command| !command.is_hide_set()).map(line).collect()
}

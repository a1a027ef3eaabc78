//! Commands, rights and bounds, on a terminal made of pipes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use micro::bot::terminal::Terminal;
use micro::bot::{Audit, Bot, Builder, Rights};
use micro::command::Context;
use micro_discover::{Endpoint, Service};
use tokio::io::{AsyncReadExt, BufReader};

/// A log that can be read.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) async fn registry(name: &str) -> Context {
    let context = Context::open(&format!("memory:bot-{name}")).unwrap();
    let greeter = Service::new("greeter").endpoint(Endpoint::new("a", "127.0.0.1:1".parse().unwrap()));
    context.registry().announce(&greeter, Duration::ZERO).await.unwrap();
    context
}

/// Says `lines` to a bot, and gives everything that it says.
pub(crate) async fn say(bot: Builder, lines: &str) -> String {
    let (output, mut shown) = tokio::io::duplex(1 << 20);
    let lines = std::io::Cursor::new(lines.as_bytes().to_vec());
    let terminal = Terminal::over("ann", BufReader::new(lines), output);
    bot.build(vec![Box::new(terminal)]).unwrap().run().await;
    let mut text = String::new();
    shown.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn it_answers_what_the_command_line_does_and_small_talk() {
    let bot = Bot::builder(registry("talk").await);
    let said = say(bot, "ping\nlist\nget greeter\nlist services\nhelp\n").await;
    assert!(said.starts_with("pong\n") && said.contains("greeter"), "{said}");
    assert!(
        said.contains("127.0.0.1:1") && said.contains("ping - Returns pong") && said.contains("health - "),
        "{said}"
    );
}

#[tokio::test]
async fn nobody_changes_anything_unless_they_are_named() {
    let (context, log) = (registry("rights").await, Log::default());
    let bot = Bot::builder(context.clone()).audit(Audit::new(log.clone()));
    let said = say(bot, "deregister greeter --all\n").await;
    assert!(said.contains("you may not deregister"), "{said}");
    assert_eq!(context.registry().get("greeter").await.unwrap().len(), 1);
    let bot = Bot::builder(context.clone()).rights(Rights::new().change(["terminal:ann"]).unwrap());
    say(bot.audit(Audit::new(log.clone())), "deregister greeter --all\n").await;
    assert!(context.registry().get("greeter").await.unwrap().is_empty());
    let outcomes: Vec<_> =
        log.lines().iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["denied", "done"]);
    assert_eq!(log.lines()[0]["user"], "ann");

    let nobody = Bot::builder(context).rights(Rights::new().read(["terminal:bob"]).unwrap());
    assert_eq!(say(nobody, "list\n").await, "you may not use this bot here\n");
}

#[tokio::test]
async fn lines_that_are_no_commands_do_nothing_here() {
    let bot = Bot::builder(registry("inject").await).rights(Rights::new().change(["*"]).unwrap());
    let lines = "list; rm -rf /\nlist $(id)\nlist `id`\nget greeter | sh\ncall greeter X @/etc/passwd\nregister @/etc/passwd\nlist --output ../x\napi\nweb\nbot\nrun x\nnew x\n";
    let said = say(bot, lines).await;
    assert!(!said.contains("root:") && !said.contains("uid="), "{said}");
    assert!(said.contains("cannot be read from a file here"), "{said}");
}

#[tokio::test]
async fn who_says_too_much_at_once_is_told_once() {
    let said = say(Bot::builder(registry("flood").await), &"ping\n".repeat(60)).await;
    let pongs = said.lines().filter(|line| *line == "pong").count();
    assert!((10..60).contains(&pongs), "{pongs} of 60 are answered");
    assert!(said.contains("that is too much at once: wait a moment"), "{said}");
}

#[tokio::test]
async fn a_slow_command_keeps_nobody_waiting() {
    // The webhook takes both at once; the slow one ends only with its limit.
    let bot = Bot::builder(registry("slow").await).limit(Duration::from_secs(600));
    let address = crate::webhook::run(bot).await;
    let slow = tokio::spawn(async move { crate::webhook::say(address, "ann", "1", "watch").await });
    assert_eq!(crate::webhook::say(address, "bob", "2", "ping").await.1, "pong");
    slow.abort();
}

#[tokio::test]
async fn what_would_go_on_for_ever_ends() {
    let bot = Bot::builder(registry("endless").await).limit(Duration::from_millis(300));
    let said = say(bot, "watch\nping\n").await;
    assert!(said.contains("greeter") && said.ends_with("pong\n"), "{said}");
}

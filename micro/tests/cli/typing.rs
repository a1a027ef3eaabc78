//! What somebody types at a terminal stays as it is written.

use std::time::{Duration, Instant};

use crate::echo::Echo;
use crate::program::Place;
use crate::terminal::Terminal;

/// Longer than a command waits before it says that it does.
const LONG: Duration = Duration::from_secs(2);

/// Types empty lines for so long, and looks at all that is written meanwhile.
fn stays(terminal: &mut Terminal) {
    let began = Instant::now();
    while began.elapsed() < LONG {
        terminal.press("\n");
        let seen = terminal.until("\n");
        assert!(!seen.contains("waiting"), "{seen:?}");
    }
}

#[test]
fn what_is_said_to_the_bot_is_not_written_over() {
    let place = Place::new();
    let mut terminal = Terminal::start(&mut place.command(&["bot"]));
    stays(&mut terminal);
    terminal.press("ping\n");
    terminal.until("pong");
    terminal.press("\u{4}");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn a_request_that_is_typed_is_not_written_over() {
    let echo = Echo::new();
    let command = &mut echo.place.command(&["call", "echo", "Echo.Unary", "-d", "-", "--timeout", "60s"]);
    let mut terminal = Terminal::start(command);
    stays(&mut terminal);
    terminal.press("{\"text\":\"typed\"}\n\u{4}");
    terminal.until("\"text\": \"typed\"");
    assert_eq!(terminal.end(), Some(0));
}

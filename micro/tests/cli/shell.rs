//! Commands typed one after the other.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::echo::Echo;
use crate::program::Place;
use crate::terminal::Terminal;

#[test]
fn a_shell_runs_each_line_and_goes_on_after_a_mistake() {
    let echo = Echo::new();
    let typed =
        "list services\n\nfrobnicate\ncall echo Unary 'text=a b'\nget nobody\n? publish\nquit\nlist\n";
    let run = echo.place.feed(&["cli"], typed);
    assert!(run.out.starts_with("echo\n{\n\t\"text\": \"a b\"\n}\n"), "{run:?}");
    assert!(run.out.contains("TOPIC MESSAGE") && !run.out.contains("ENDPOINTS"), "{run:?}");
    assert!(run.err.contains("error: unknown command\n"), "{run:?}");
    assert!(run.err.contains("there is no service \"nobody\""), "{run:?}");
    assert_eq!(run.code, Some(0), "the last command was help");
    assert_eq!(echo.place.feed(&["cli"], "get nobody\n").code, Some(3));
}

#[test]
fn each_line_of_a_shell_may_say_how_its_answer_is_written() {
    let echo = Echo::new();
    let typed = "list -o name\nlist --fields endpoints,name -o ndjson\ncall echo Unary text=a -o json\nlist services\n";
    let run = echo.place.feed(&["cli", "--output", "yaml"], typed);
    let said = "echo\n{\"endpoints\":2,\"name\":\"echo\"}\n{\"text\":\"a\"}\n- name: echo\n";
    assert!(run.out.starts_with(said), "{run:?}");
}

#[test]
fn a_shell_says_what_was_meant_and_takes_what_is_written_for_others() {
    let place = Place::new();
    for (typed, hint) in
        [("lst", "list"), ("frobnicate", "help"), ("doctor", "micro doctor, outside of this shell")]
    {
        let run = place.feed(&["cli"], &format!("{typed}\n"));
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.err.contains("error: unknown command\n"), "{run:?}");
        assert!(run.err.ends_with(&format!("try:   {hint}\n")), "{run:?}");
    }
    let run = place.feed(&["cli"], "micro list -o json\nhelp\n");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.starts_with("[]\n") && run.out.contains("Ctrl-D ends the shell"), "{run:?}");
}

const ENTER: &str = "\r";
const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

fn at_a_terminal(place: &Place, history: Option<&str>) -> Terminal {
    let mut command = place.command(&["cli"]);
    command.env("TERM", "xterm").env("HOME", place.path("home"));
    if let Some(history) = history {
        command.env("MICRO_HISTORY", history);
    }
    let terminal = Terminal::start(&mut command);
    terminal.until("micro> ");
    terminal
}

#[test]
fn what_was_typed_is_there_again_in_the_next_shell() {
    let place = Place::new();
    let mut shell = at_a_terminal(&place, None);
    shell.press("garbage");
    shell.until("garbage");
    shell.press(CTRL_C);
    shell.until("micro> ");
    for line in [" get secret", "list"] {
        shell.press(&[line, ENTER].concat());
        shell.until(if line == "list" { "no services" } else { "no service" });
        shell.until("micro> ");
    }
    shell.press(&["quit", ENTER].concat());
    assert_eq!(shell.end(), Some(0));
    let file = place.path("home/.local/state/micro/history");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["list", "quit"], "{text}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let mut shell = at_a_terminal(&place, None);
    shell.press(&[UP, UP, ENTER].concat());
    shell.until("no services");
    shell.until("micro> ");
    shell.press(CTRL_D);
    assert_eq!(shell.end(), Some(0));
}

#[test]
fn tab_completes_commands_services_methods_and_flags() {
    let echo = Echo::new();
    let method = r#"{"name":"echo","version":"2","methods":[{"name":"/echo.Echo/Unary"}],"#;
    let record = format!(r#"{method}"endpoints":[{{"id":"c","address":"{}"}}]}}"#, echo.address);
    assert_eq!(echo.place.feed(&["register", "-", "--ttl", "0"], &record).code, Some(0));
    let mut shell = at_a_terminal(&echo.place, Some("off"));
    // A word of which nothing else can come is made whole, and the next one begins.
    for (keys, shown) in [
        ("ca\t", "call "),
        ("ec\t", "echo "),
        ("Echo.U\t", "Echo.Unary "),
        ("text=a --each\t", "--each-node "),
    ] {
        shell.press(keys);
        shell.until(shown);
    }
    shell.press(ENTER);
    shell.until("\"a\"");
    shell.until("micro> ");
    shell.press("sub\t");
    shell.until("subscribe ");
    shell.press(CTRL_C);
    shell.until("micro> ");
    // Where several can, they are shown.
    shell.press("de\t\t");
    shell.until("describe");
    shell.until("deregister");
    // The line comes again below them; only the prompt after that is the next one's.
    shell.until("micro> de");
    shell.press(CTRL_C);
    shell.until("micro> ");
    shell.press(CTRL_D);
    assert_eq!(shell.end(), Some(0));
}

#[test]
fn no_history_is_kept_where_none_is_wanted() {
    let place = Place::new();
    let mut shell = at_a_terminal(&place, Some("off"));
    shell.press(&["quit", ENTER].concat());
    assert_eq!(shell.end(), Some(0));
    assert!(!place.path("home").exists());
}

#[test]
fn an_interrupt_ends_the_command_each_time_and_never_the_shell() {
    let place = Place::new();
    // Takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    place.ok(&["register", "silent", "-a", &address, "--id", "s", "--ttl", "0"]);
    let mut shell = at_a_terminal(&place, Some("off"));
    let commands =
        [("watch silent", "added"), ("watch silent", "added"), ("health silent --timeout 1h", "waiting for")];
    for (line, shown) in commands {
        shell.press(&[line, ENTER].concat());
        shell.until(shown);
        shell.signal(Signal::INT);
        shell.until("micro> ");
    }
    shell.press(&["watch silent", ENTER].concat());
    shell.until("added");
    shell.signal(Signal::TERM);
    assert_eq!(shell.end(), Some(143));
}

//! Lines that a shell completes by asking the program.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::echo::Echo;
use crate::program::Place;

const GREETER: &str = r#"{"name":"greeter","version":"1","methods":[{"name":"/greeter.Greeter/Hello"}],
    "endpoints":[{"id":"greeter-a","address":"127.0.0.1:1"}]}"#;

fn place() -> Place {
    let place = Place::new();
    let run = place.feed(&["register", "-", "--ttl", "0"], GREETER);
    assert_eq!(run.code, Some(0), "{run:?}");
    place.ok(&["register", "orders", "-a", "127.0.0.1:2", "--ttl", "0"]);
    place
}

/// What may stand where the last of `words` is.
fn candidates(place: &Place, words: &[&str]) -> Vec<String> {
    let mut command = place.command(&[&["--", "micro"], words].concat());
    let output =
        command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string()).output();
    let output = output.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{words:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn services_methods_and_endpoints_are_those_of_the_registry() {
    let place = place();
    assert_eq!(candidates(&place, &["get", ""])[..2], ["greeter", "orders"]);
    for command in ["call", "deregister", "doctor", "health"] {
        assert_eq!(candidates(&place, &[command, "gre"]), ["greeter"], "{command}");
    }
    assert_eq!(candidates(&place, &["call", "greeter", "Gre"]), ["Greeter.Hello"]);
    assert_eq!(candidates(&place, &["call", "greeter", "Hello", "--endpoint", ""]), ["greeter-a"]);
    assert_eq!(candidates(&place, &["deregister", "orders", "--id", "o"]), ["orders-127.0.0.1-2"]);
    let other = format!("file:{}", place.path("other").display());
    assert!(!candidates(&place, &["--registry", &other, "get", ""]).contains(&"greeter".to_owned()));
}

#[test]
fn methods_that_no_record_names_are_those_of_the_service() {
    let echo = Echo::new();
    assert_eq!(candidates(&echo.place, &["call", "echo", "Echo.S"]), ["Echo.Slow", "Echo.Sum"]);
    assert_eq!(candidates(&echo.place, &["describe", &echo.address, "Echo.U"]), ["Echo.Unary"]);
    assert!(!candidates(&echo.place, &["call", "echo", ""]).iter().any(|name| name.contains("Reflection")));
    assert_eq!(candidates(&echo.place, &["call", "nobody", "Echo.S"]), Vec::<String>::new());
}

#[test]
fn a_registry_that_does_not_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let began = Instant::now();
    assert_eq!(candidates(&place(), &["--proxy", &address, "call", "gre"]), Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn bash_completes_by_the_script() {
    let place = place();
    let script = place.path("script");
    std::fs::write(&script, place.ok(&["completion", "bash"])).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_micro")).parent().unwrap();
    let ask = "source \"$1\"; COMP_WORDS=(micro call greeter Gre); COMP_CWORD=3; \
        _clap_complete_micro micro Gre greeter; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", ask, "bash"]).arg(&script).env("MICRO_REGISTRY", place.url());
    bash.env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()));
    let Ok(output) = bash.output() else {
        assert!(std::env::var_os("CI").is_none(), "no bash on PATH");
        println!("skipped: no bash on PATH");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "Greeter.Hello", "{output:?}");
}

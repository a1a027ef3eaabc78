//! Commands that run until they are stopped: register and watch.

use rustix::process::Signal;

use crate::program::Place;

#[test]
fn a_held_registration_ends_with_the_command_by_either_signal() {
    let place = Place::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut held = place.start(&["register", "greeter", "--address", "127.0.0.1:1", "--id", "a"]);
        assert_eq!(held.line(), "registered greeter  a  127.0.0.1:1");
        assert!(place.ok(&["list"]).contains("greeter"));
        held.signal(signal);
        let (status, rest) = held.end();
        assert_eq!((status.code(), rest.as_str()), (Some(0), "deregistered greeter  a  127.0.0.1:1\n"));
        assert_eq!(place.ok(&["list"]), "");
    }
}

#[test]
fn a_held_registration_is_renewed_past_its_ttl_and_goes_when_its_command_is_killed() {
    let place = Place::new();
    let mut watch = place.start(&["watch", "greeter"]);
    let mut held = place.start(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "a", "--ttl", "3s"]);
    assert_eq!(watch.line(), "added    greeter  a  127.0.0.1:1");
    held.line();
    // Longer than the TTL: an endpoint that was not renewed would be gone, and the watch would say so next.
    std::thread::sleep(std::time::Duration::from_secs(4));
    place.ok(&["register", "greeter", "-a", "127.0.0.1:2", "--id", "b", "--ttl", "0"]);
    assert_eq!(watch.line(), "added    greeter  b  127.0.0.1:2");
    held.kill();
    assert_eq!(watch.line(), "removed  greeter  a  127.0.0.1:1");
}

#[test]
fn a_watch_says_what_comes_changes_and_goes() {
    let place = Place::new();
    let register = |id: &str, more: &[&str]| {
        let address = "127.0.0.1:1";
        place.ok(&[&["register", "greeter", "-a", address, "--id", id, "--ttl", "0"], more].concat());
    };
    register("a", &[]);
    let mut watch = place.start(&["watch", "greeter"]);
    assert_eq!(watch.line(), "added    greeter  a  127.0.0.1:1");
    register("b", &["--zone", "eu"]);
    assert_eq!(watch.line(), "added    greeter  b  127.0.0.1:1  zone=eu");
    register("a", &["--weight", "0", "-m", "k=v"]);
    assert_eq!(watch.line(), "changed  greeter  a  127.0.0.1:1  weight=0  k=v");
    place.ok(&["deregister", "greeter", "--id", "b"]);
    assert_eq!(watch.line(), "removed  greeter  b  127.0.0.1:1  zone=eu");
    watch.signal(Signal::INT);
    let (status, rest) = watch.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
}

#[test]
fn a_watch_of_everything_finds_services_that_come_later_and_writes_json_by_the_line() {
    let place = Place::new();
    let mut watch = place.start(&["watch", "--output", "json"]);
    for name in ["greeter", "users"] {
        place.ok(&["register", name, "-a", "127.0.0.1:1", "--id", "a", "--ttl", "0"]);
        let line = format!(
            r#"{{"event":"added","service":"{name}","endpoint":{{"id":"a","address":"127.0.0.1:1"}}}}"#
        );
        assert_eq!(watch.line(), line);
    }
    place.ok(&["deregister", "users", "--all"]);
    let line = r#"{"event":"removed","service":"users","endpoint":{"id":"a","address":"127.0.0.1:1"}}"#;
    assert_eq!(watch.line(), line);
}

#[test]
fn what_is_only_read_ends_when_nobody_reads_it() {
    let place = Place::new();
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "a", "--ttl", "0"]);
    for arguments in [&["watch"][..], &["subscribe", "orders.*"], &["top", "--interval", "1h"]] {
        let mut watch = place.command(arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
        if arguments[0] == "watch" {
            let mut out = std::io::BufReader::new(watch.stdout.as_mut().unwrap());
            let mut line = String::new();
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            assert_eq!(line, "added    greeter  a  127.0.0.1:1\n");
        }
        // Nothing more happens, and nothing is written: it has to hear of that by itself.
        drop(watch.stdout.take());
        assert_eq!(watch.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

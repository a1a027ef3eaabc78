//! Formats, colours, help and completions.

use std::process::Stdio;

use crate::program::Place;

#[test]
fn yaml_is_another_spelling_of_the_same_data() {
    let place = Place::new();
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "a", "--version", "1", "--ttl", "0"]);
    let yaml = "- name: greeter\n  version: \"1\"\n  endpoints:\n  - id: a\n    address: 127.0.0.1:1\n";
    assert_eq!(place.ok(&["get", "greeter", "--output", "yaml"]), yaml);
    let yaml = "- name: greeter\n  versions:\n  - \"1\"\n  endpoints: 1\n";
    assert_eq!(place.ok(&["list", "--output", "yaml"]), yaml);
}

#[test]
fn colours_come_only_when_asked_for_and_never_with_no_color() {
    let place = Place::new();
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--ttl", "0"]);
    let list = |set: &[(&str, &str)]| {
        let output = place.command(&["list"]).envs(set.iter().copied()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!list(&[]).contains('\u{1b}'), "a pipe is no terminal");
    assert!(list(&[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'));
    assert!(place.ok(&["list", "--color", "always"]).contains('\u{1b}'));
    assert!(!list(&[("CLICOLOR_FORCE", "1"), ("MICRO_COLOR", "never")]).contains('\u{1b}'));
    assert!(!list(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\u{1b}'));
}

#[test]
fn every_command_explains_itself_with_examples() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    assert!(help.contains("Exit codes: 0 done"), "{help}");
    for command in [
        "list",
        "get",
        "describe",
        "call",
        "stream",
        "bench",
        "publish",
        "subscribe",
        "watch",
        "tap",
        "register",
        "deregister",
        "health",
        "doctor",
        "config",
        "context",
        "completion",
        "man",
        "version",
        "help",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the help");
        let help = place.ok(&[command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  micro {command}")), "{help}");
    }
}

#[test]
fn no_command_is_a_question_for_help() {
    let run = Place::new().run(&[]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("Usage: micro"), "{run:?}");
}

#[test]
fn each_shell_gets_completions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.ok(&["completion", shell]).contains("COMPLETE"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--ttl", "0"]);
    for arguments in [&["list"][..], &["completions", "bash"]] {
        let mut child =
            place.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
}

#[test]
fn a_build_says_what_it_was_built_of() {
    // Settings that are wrong do not keep it from that.
    let place = Place::new();
    let mut command = place.command(&["version", "-o", "json"]);
    let output = command.env("MICRO_OUTPUT", "xml").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let built: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&built["name"], &built["version"]), (&"micro".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(built["rustc"].as_str().unwrap().starts_with("rustc 1."), "{built}");
    let has = |list: &str, word: &str| built[list].as_array().unwrap().contains(&word.into());
    assert!(has("registries", "file:") && has("brokers", "http:"), "{built}");
    assert_eq!(has("features", "etcd"), cfg!(feature = "etcd"), "{built}");
    assert_eq!(has("registries", "etcds:"), cfg!(feature = "etcd"), "{built}");
    let shown = place.ok(&["version"]);
    assert!(shown.starts_with(&format!("version     {}\n", env!("CARGO_PKG_VERSION"))), "{shown}");
}

#[test]
fn help_is_no_wider_than_the_terminal() {
    let place = Place::new();
    for arguments in [&["call", "--help"][..], &["help", "call"], &["--help"]] {
        for columns in ["60", "90"] {
            let output = place.command(arguments).env("COLUMNS", columns).output().unwrap();
            let help = String::from_utf8(output.stdout).unwrap();
            // What has no space in it is not cut, nor are examples.
            let prose = help.split("Examples:").next().unwrap();
            let widest = prose.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns.parse().unwrap(), "{arguments:?} at {columns}: {widest}\n{help}");
        }
    }
}

//! Where settings come from, as the program sees it.

use crate::program::Place;

fn registry(place: &Place, set: &[(&str, &str)], arguments: &[&str]) -> (String, String) {
    let home = place.path("config").display().to_string();
    let mut command = place.command(&[&["config", "show", "-o", "json"], arguments].concat());
    command.env_remove("MICRO_REGISTRY").env("XDG_CONFIG_HOME", home).current_dir(place.path(""));
    let output = command.envs(set.iter().copied()).output().unwrap();
    let rows: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let row = rows.as_array().unwrap().iter().find(|row| row["key"] == "registry").unwrap();
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("value"), text("origin"))
}

#[test]
fn a_flag_wins_over_the_environment_over_a_context_over_files_over_the_default() {
    let place = Place::new();
    let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(registry(&place, &[], &[]), is("file:", "default"));
    let user = place.path("config/micro/config.toml");
    std::fs::create_dir_all(user.parent().unwrap()).unwrap();
    std::fs::write(&user, "registry = 'file:/user'").unwrap();
    assert_eq!(registry(&place, &[], &[]), is("file:/user", &user.display().to_string()));
    std::fs::write(place.path("micro.toml"), "registry = 'file:/here'\n[api]\naddress = ':8080'").unwrap();
    assert_eq!(registry(&place, &[], &[]), is("file:/here", "./micro.toml"));
    let context = |arguments: &[&str]| {
        let mut command = place.command(&[&["context"], arguments].concat());
        command.env("XDG_CONFIG_HOME", place.path("config")).output().unwrap()
    };
    let said = |arguments: &[&str]| {
        let output = context(arguments);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let none = "no contexts: micro context add NAME --registry URL makes one\n";
    assert_eq!(said(&["ls"]), (Some(0), none.to_owned()));
    let (code, words) = said(&["use"]);
    assert!(code == Some(2) && words.contains("which context is meant is not said"), "{words}");
    assert!(context(&["add", "prod", "--registry", "etcd://me:hunter2@h"]).status.success());
    assert!(context(&["use", "prod"]).status.success());
    assert_eq!(registry(&place, &[], &[]), is("etcd://***@h", "context prod"));
    let variable = [("MICRO_REGISTRY", "file:/variable")];
    assert_eq!(registry(&place, &variable, &[]), is("file:/variable", "MICRO_REGISTRY"));
    assert_eq!(registry(&place, &variable, &["--registry", "file:/flag"]), is("file:/flag", "--registry"));
    let listed = String::from_utf8(context(&["ls"]).stdout).unwrap();
    assert!(listed.contains("*        prod  registry=etcd://***@h"), "{listed}");
}

#[test]
fn a_setting_that_is_wrong_has_an_exit_code_of_its_own_and_its_place() {
    let place = Place::new();
    std::fs::write(place.path("bad.toml"), "registri = 'file:'").unwrap();
    let file = place.path("bad.toml").display().to_string();
    let run = place.run(&["config", "validate", "--config", &file]);
    assert_eq!((run.code, run.out.as_str()), (Some(8), ""), "{run:?}");
    assert!(run.err.contains("no setting \"registri\"") && run.err.contains(&file), "{run:?}");
    assert!(run.err.contains("try:   registry"), "{run:?}");
    let mut command = place.command(&["list"]);
    let output = command.env("MICRO_OUTPUT", "xml").output().unwrap();
    assert_eq!(output.status.code(), Some(8));
    // What needs no settings works without.
    place.ok(&["help", "configuration", "--config", &file]);
}

#[test]
fn help_knows_topics_and_pages_are_written() {
    let place = Place::new();
    assert!(place.ok(&["help", "exit-codes"]).contains("69 NOT_FOUND"));
    assert!(place.ok(&["help"]).contains("exit-codes"));
    assert!(place.ok(&["help", "call"]).contains("--each-node"));
    let run = place.run(&["help", "exit-code"]);
    assert!(run.code == Some(2) && run.err.contains("try:   micro help exit-codes"), "{run:?}");
    assert!(place.ok(&["man"]).contains(".TH micro 1"));
    let dir = place.path("man").display().to_string();
    assert!(place.ok(&["man", "--dir", &dir]).contains("micro-call.1"));
    assert!(std::fs::read_to_string(place.path("man/micro-call.1")).unwrap().contains("each"));
}

#[test]
fn a_file_that_the_gateway_could_not_use_is_not_valid() {
    let place = Place::new();
    std::fs::write(place.path("micro.toml"), "[api]\ntimeuot = '2s'\n").unwrap();
    let file = place.path("micro.toml").display().to_string();
    let run = place.run(&["config", "validate", "--config", &file]);
    assert_eq!((run.code, run.out.as_str()), (Some(8), ""), "{run:?}");
    assert!(run.err.contains("[api] timeuot: unknown field `timeuot`"), "{run:?}");
    assert_eq!(place.run(&["config", "show", "--config", &file]).code, Some(0));
    // Nothing of it would hold.
    std::fs::write(&file, "[[route]]\npath = '/x'\n").unwrap();
    let run = place.run(&["config", "validate", "--config", &file]);
    let said = "there is no table [[route]]: the gateway's are [api] and [[api.route]]";
    assert!(run.code == Some(8) && run.err.contains(said), "{run:?}");
}

#[test]
fn a_variable_that_is_no_text_is_not_read_over_and_dev_null_is_an_empty_file() {
    use std::os::unix::ffi::OsStrExt as _;

    let place = Place::new();
    let mut command = place.command(&["deregister", "greeter", "--all"]);
    command.env("MICRO_REGISTRY", std::ffi::OsStr::from_bytes(b"file:/\xff"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("MICRO_REGISTRY is no text"), "{output:?}");
    place.ok(&["list", "--config", "/dev/null"]);
    assert_eq!(place.run(&["list", "--config", "/"]).code, Some(8));
}

/// Whoever pastes a file from the guide has one that works.
#[test]
fn files_of_the_guide_are_what_they_should_be() {
    let place = Place::new();
    let pages = [
        include_str!("../../../README.md"),
        include_str!("../../../docs/gateway.md"),
        include_str!("../../../docs/toolkit.md"),
    ];
    let files: Vec<_> = pages.iter().flat_map(|page| page.split("```toml\n").skip(1)).collect();
    assert!(files.len() >= 2, "{}", files.len());
    for file in files {
        let toml = file.split("```").next().unwrap();
        std::fs::write(place.path("gateway.toml"), toml).unwrap();
        place.ok(&["config", "validate", "--config", &place.path("gateway.toml").display().to_string()]);
    }
}

//! Services that are run under watch, and new ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::program::Place;

fn script(place: &Place, text: &str) {
    std::fs::create_dir_all(place.path("app")).unwrap();
    // At once, so that there is one change and not half of one.
    std::fs::write(place.path("app.sh.new"), text).unwrap();
    std::fs::rename(place.path("app.sh.new"), place.path("app/app.sh")).unwrap();
}

#[test]
fn a_service_is_started_again_when_it_changes_and_stopped_with_the_command() {
    let place = Place::new();
    script(&place, "echo first in $MICRO_REGISTRY; exec sleep 1000");
    let app = place.path("app").display().to_string();
    let mut run = place.start(&["run", &app, "--", "sh", "app.sh"]);
    assert_eq!(run.line(), "app * started");
    assert_eq!(run.line(), format!("app | first in {}", place.url()));
    script(&place, "echo second >&2; exec sleep 1000");
    assert_eq!(run.line(), "app * changed");
    assert_eq!(run.line(), "app * started");
    assert_eq!(run.line(), "app | second");
    run.signal(Signal::INT);
    assert_eq!(run.end().0.code(), Some(0));
}

#[test]
fn a_service_that_crashes_is_started_again_after_a_wait_that_grows() {
    let place = Place::new();
    script(&place, "exit 3");
    let app = place.path("app").display().to_string();
    let mut run = place.start(&["run", &app, "--name", "x", "--output", "json", "--", "sh", "app.sh"]);
    for wait in ["500ms", "1s"] {
        assert_eq!(run.line(), r#"{"name":"x","stream":"micro","line":"started"}"#);
        let crashed = format!(
            r#"{{"name":"x","stream":"micro","line":"crashed (exit status: 3); starting again in {wait}"}}"#
        );
        assert_eq!(run.line(), crashed);
    }
    run.kill();
}

#[test]
fn what_cannot_be_run_is_said() {
    let place = Place::new();
    let here = place.path("").display().to_string();
    for (arguments, why) in [
        (&["run", "/no/such/dir"][..], "there is no directory /no/such/dir"),
        (&["run", &here], "has no Cargo.toml"),
        (&["new"], "specify service name"),
        (&["new", &here], "cannot be the name of a service"),
        (&["new", "x", "--type", "web"], "Unknown type web"),
    ] {
        let run = place.run(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
        assert!(run.err.contains(why), "{run:?}");
    }
}

#[test]
fn a_new_service_is_written_once() {
    let place = Place::new();
    let dir = place.path("order-book").display().to_string();
    let out = place.ok(&["new", &dir]);
    assert!(out.starts_with(&format!("creating service order-book\ncreating {dir}/Cargo.toml\n")), "{out}");
    assert!(out.contains("proto/order_book.proto") && out.contains("src/handler.rs"), "{out}");
    let main = std::fs::read_to_string(place.path("order-book/src/main.rs")).unwrap();
    assert!(
        main.contains("proto::order_book_server::OrderBookServer::new(Handler)") && !main.contains("{{"),
        "{main}"
    );
    let run = place.run(&["new", &dir]);
    assert!(run.code == Some(2) && run.err.contains("already exists"), "{run:?}");
}

/// As `docker build` copies it, but below a directory of the test's.
#[test]
fn the_image_of_a_new_service_has_all_of_the_library_that_it_is_built_from() {
    let place = Place::new();
    let (dir, image) = (place.path("order-book"), place.path("image"));
    place.ok(&["new", &dir.display().to_string()]);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let file = std::fs::read_to_string(dir.join("Dockerfile")).unwrap();
    let build = format!("docker build -t order-book --build-context micro={} .", checkout.display());
    assert!(file.starts_with(&format!("# {build}\n")), "{file}");
    assert!(std::fs::read_to_string(dir.join("README.md")).unwrap().contains(&build));
    for copy in file.lines().filter_map(|line| line.strip_prefix("COPY --from=micro ")) {
        let [from, to]: [PathBuf; 2] = serde_json::from_str(copy).unwrap();
        let to = image.join(to.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        assert!(Command::new("cp").arg("-r").args([checkout.join(from), to]).status().unwrap().success());
    }
    let manifest = dir.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let there = image.join(checkout.strip_prefix("/").unwrap());
    std::fs::write(&manifest, text.replace(checkout.to_str().unwrap(), there.to_str().unwrap())).unwrap();
    let asked = ["metadata", "--offline", "--format-version", "1", "--manifest-path"];
    let cargo = Command::new(env!("CARGO")).args(asked).arg(&manifest).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let all: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = all["packages"].as_array().unwrap().iter();
    let local = packages.filter(|package| package["source"].is_null());
    let paths: Vec<_> = local.map(|package| package["manifest_path"].as_str().unwrap()).collect();
    assert!(
        paths.len() > 4 && paths.iter().all(|path| Path::new(path).starts_with(place.path(""))),
        "{paths:?}"
    );
}

/// What the examples have of it builds and runs with every other test.
#[test]
fn a_new_service_is_the_one_that_the_examples_build() {
    let place = Place::new();
    place.ok(&["new", &place.path("order-book").display().to_string()]);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    // Lines are broken in another way there.
    let text = |path: PathBuf| {
        let text = std::fs::read_to_string(path).unwrap().split_whitespace().collect::<String>();
        text.replace(",)", ")").replace(",}", "}")
    };
    for (written, built) in [
        ("src/main.rs", "src/bin/order_book/main.rs"),
        ("src/handler.rs", "src/bin/order_book/handler.rs"),
        ("proto/order_book.proto", "proto/order_book.proto"),
    ] {
        assert_eq!(text(place.path("order-book").join(written)), text(examples.join(built)), "{written}");
    }
}

/// The proof that it builds and runs at once; it takes a whole build of the library.
#[test]
#[ignore = "builds the library anew: several minutes"]
fn a_new_service_builds_runs_and_answers() {
    let place = Place::new();
    let dir = place.path("order-book").display().to_string();
    place.ok(&["new", &dir]);
    let mut command = place.command(&["run", &dir]);
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("new"));
    let mut run = place.spawn(&mut command);
    while !run.line().contains("order-book 0.1.0 runs") {
        assert!(!run.has_ended(), "it does not build");
    }
    let mut answer = place.run(&["call", "order-book", "OrderBook.Call", "name=John", "-o", "json"]);
    while answer.code == Some(3) {
        std::thread::sleep(std::time::Duration::from_millis(100));
        answer = place.run(&["call", "order-book", "OrderBook.Call", "name=John", "-o", "json"]);
    }
    assert_eq!(answer.out, "{\"msg\":\"Hello John\"}\n", "{answer:?}");
    let stats: serde_json::Value =
        serde_json::from_str(&place.ok(&["stats", "order-book", "-o", "json"])).unwrap();
    assert!(stats[0]["requests"].as_u64() >= Some(1), "{stats}");
    let counted = place.ok(&["stream", "order-book", "OrderBook.Stream", "count:=3", "-o", "json"]);
    assert_eq!(counted.lines().count(), 3);
    run.signal(Signal::INT);
    assert_eq!(run.end().0.code(), Some(0));
}

//! Where go-micro's own words are used, its own answers come, byte for byte.

use crate::echo::Echo;
use crate::program::Place;

const GREETER: &str = r#"{"name":"greeter","version":"1.0.0","metadata":null,
    "endpoints":[{"name":"Greeter.Hello","request":null,"response":null,"metadata":{"stream":"false"}}],
    "nodes":[{"id":"greeter-1","address":"127.0.0.1","port":46243,"metadata":{"broker":"http","server":"rpc"}}]}"#;

#[test]
fn a_service_is_registered_listed_got_and_deregistered_in_its_words() {
    let place = Place::new();
    assert_eq!(place.ok(&["register", "service", GREETER]), "ok\n");
    place.ok(&["register", "another", "-a", "127.0.0.1:1", "--ttl", "0"]);
    assert_eq!(place.ok(&["list", "services"]), "another\ngreeter\n");
    let shown = "service  greeter\n\nversion 1.0.0\n\nId\tAddress\tPort\tMetadata\n\
        greeter-1\t127.0.0.1\t46243\tbroker=http,server=rpc\n\nEndpoint: Greeter.Hello\nMetadata: stream=false\n\n\
        Request: {}\n\nResponse: {}\n\n";
    assert_eq!(place.ok(&["get", "service", "greeter"]), shown);
    assert_eq!(place.ok(&["get", "greeter", "--output", "original"]), shown);
    let words: Vec<_> = GREETER.split_whitespace().collect();
    assert_eq!(place.ok(&[&["deregister", "service"][..], &words].concat()), "ok\n");
    assert_eq!(place.ok(&["list", "services"]), "another\n");
}

#[test]
fn what_is_done_with_the_registry_may_stand_below_its_name() {
    let place = Place::new();
    assert_eq!(place.ok(&["registry", "register", "service", GREETER]), "ok\n");
    assert_eq!(place.ok(&["registry", "list", "services"]), "greeter\n");
    let shown = place.ok(&["registry", "get", "service", "greeter"]);
    assert_eq!(shown, place.ok(&["get", "service", "greeter"]));
    assert_eq!(place.ok(&["registry", "deregister", "service", GREETER]), "ok\n");
    assert_eq!(place.ok(&["list", "services"]), "");
    assert_eq!(place.run(&["registry"]).code, Some(2));
}

#[test]
fn health_is_shown_for_each_node() {
    let echo = Echo::new();
    let shown = echo.place.ok(&["health", "echo", "--output", "original"]);
    let mut lines = shown.lines();
    let head: Vec<_> = lines.by_ref().take(5).collect();
    assert_eq!(head, ["service  echo", "", "version latest", "", "node\t\taddress:port\t\tstatus"]);
    assert_eq!(lines.next().unwrap(), format!("a\t\t{}\t\tok", echo.address));
}

#[test]
fn what_is_missing_is_said_in_its_words_but_never_with_exit_code_0() {
    let place = Place::new();
    for (arguments, text, code) in [
        (&["get", "service"][..], "service requested", 2),
        (&["register", "service", " "], "require service definition", 2),
        (&["query", "greeter"], "require service and method", 2),
        (&["publish", "topic"], "require topic and message", 2),
        (&["get", "service", "nobody"], "there is no service", 3),
    ] {
        let run = place.run(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?} {run:?}");
        assert!(run.err.contains(text), "{run:?}");
    }
}

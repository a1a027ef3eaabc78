//! Registering, listing, getting, deregistering.

use crate::program::Place;

const GREETER: &str = r#"{"name":"greeter","version":"1.2.0","metadata":{"owner":"us"},
    "methods":[{"name":"/greeter.Greeter/Hello","request":{"name":"HelloRequest","type":"HelloRequest"}}],
    "endpoints":[{"id":"a","address":"127.0.0.1:50051","weight":3,"zone":"eu"},
                 {"id":"b","address":"unix:/run/greeter.sock","metadata":{"node":"n1"}}]}"#;

#[test]
fn an_empty_registry_lists_nothing_and_says_so_beside_the_data() {
    let place = Place::new();
    let run = place.run(&["list"]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), ""));
    assert_eq!(run.err, format!("no services in the registry {}\n", place.url()));
    assert_eq!(place.ok(&["list", "--output", "json"]), "[]\n");
}

#[test]
fn what_is_registered_for_good_is_listed_with_its_versions_until_it_is_deregistered() {
    let place = Place::new();
    let for_good = ["--ttl", "0"];
    let first = [&["register", "greeter", "--address", "127.0.0.1:1"][..], &for_good].concat();
    assert_eq!(place.ok(&first), "registered greeter  greeter-127.0.0.1-1  127.0.0.1:1\n");
    // Once more is once.
    place.ok(&first);
    place.ok(&[&["register", "greeter", "-a", "127.0.0.1:2", "--version", "1.0"][..], &for_good].concat());
    place.ok(&[&["register", "users", "-a", "[::1]:3", "--id", "u1"][..], &for_good].concat());
    let listed = "\
NAME     VERSIONS    ENDPOINTS
greeter  1.0,latest  2
users    latest      1
";
    assert_eq!(place.ok(&["list"]), listed);
    assert_eq!(place.ok(&["services"]), listed);

    let gone = place.ok(&["deregister", "greeter", "--id", "greeter-127.0.0.1-1"]);
    assert_eq!(gone, "deregistered greeter  greeter-127.0.0.1-1  127.0.0.1:1\n");
    place.ok(&["deregister", "users", "--all"]);
    assert_eq!(place.ok(&["list"]), "NAME     VERSIONS  ENDPOINTS\ngreeter  1.0       1\n");
}

#[test]
fn every_flag_of_register_is_in_the_record() {
    let place = Place::new();
    place.ok(&[
        "register",
        "greeter",
        "--address",
        "https://h:443",
        "--id",
        "a",
        "--version",
        "2",
        "--weight",
        "0",
        "--zone",
        "eu",
        "--priority",
        "1",
        "--metadata",
        "k=v=w",
        "-m",
        "l=",
        "--method",
        "/g.G/Hello",
        "--ttl",
        "0",
    ]);
    let record = r#"[
  {
    "name": "greeter",
    "version": "2",
    "methods": [
      {
        "name": "/g.G/Hello"
      }
    ],
    "endpoints": [
      {
        "id": "a",
        "address": "https://h:443",
        "weight": 0,
        "zone": "eu",
        "priority": 1,
        "metadata": {
          "k": "v=w",
          "l": ""
        }
      }
    ]
  }
]
"#;
    assert_eq!(place.ok(&["get", "greeter", "-o", "json"]), record);
}

#[test]
fn a_record_is_given_as_json_a_file_or_standard_input_and_shown_in_full() {
    let place = Place::new();
    std::fs::write(place.path("greeter.json"), GREETER).unwrap();
    let file = format!("@{}", place.path("greeter.json").display());
    let shown = "\
service  greeter

version  1.2.0
metadata owner=us

ENDPOINT  ADDRESS                 WEIGHT  PRIORITY  ZONE  METADATA
a         127.0.0.1:50051         3       0         eu    -
b         unix:/run/greeter.sock  1       0         -     node=n1

METHOD                  REQUEST       RESPONSE  METADATA
/greeter.Greeter/Hello  HelloRequest  -         -
";
    for record in [GREETER, &file, "-"] {
        let run = place.feed(&["register", record, "--ttl", "0"], GREETER);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(place.ok(&["get", "greeter"]), shown);
        let run = place.feed(&["deregister", record], GREETER);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(place.ok(&["list"]), "");
    }
}

#[test]
fn what_get_writes_as_json_can_be_registered_elsewhere() {
    let (here, there) = (Place::new(), Place::new());
    assert_eq!(here.feed(&["register", "-", "--ttl", "0"], GREETER).code, Some(0));
    let json = here.ok(&["get", "greeter", "--output", "json"]);
    let one = json.trim().trim_start_matches('[').trim_end_matches(']');
    assert_eq!(there.feed(&["register", "-", "--ttl", "0"], one).code, Some(0));
    assert_eq!(there.ok(&["get", "greeter", "--output", "json"]), json);
}

#[test]
fn the_flag_wins_over_the_variable() {
    let (here, there) = (Place::new(), Place::new());
    there.ok(&["register", "greeter", "-a", "h:1", "--ttl", "0"]);
    assert_eq!(here.ok(&["list"]), "");
    assert!(here.ok(&["list", "--registry", &there.url()]).contains("greeter"));
    assert!(here.ok(&["--registry", &there.url(), "list"]).contains("greeter"));
}

#[test]
fn what_get_writes_register_and_deregister_read() {
    let place = Place::new();
    place.ok(&["register", "greeter", "-a", "127.0.0.1:1", "--id", "a", "--ttl", "0"]);
    let record = place.ok(&["get", "greeter", "-o", "json"]);
    assert_eq!(place.feed(&["deregister", "-"], &record).code, Some(0));
    assert_eq!(place.run(&["get", "greeter"]).code, Some(3));
    assert_eq!(place.feed(&["register", "-", "--ttl", "0"], &record).code, Some(0));
    assert_eq!(place.ok(&["get", "greeter", "-o", "json"]), record);

    place.ok(&["register", "greeter", "-a", "127.0.0.1:2", "--version", "2", "--ttl", "0"]);
    let both = place.ok(&["get", "greeter", "-o", "json"]);
    let run = place.feed(&["register", "-", "--ttl", "0"], &both);
    assert!(run.code == Some(2) && run.err.contains("there are 2 records"), "{run:?}");
}

#[test]
fn what_is_wrong_in_a_record_is_told_with_the_way_to_it() {
    let place = Place::new();
    for (record, why) in [
        (
            r#"{"name":"a","endpoints":[{"id":"a-1","address":"h:1"},{"id":"a-2","address":"h:2","weight":"3"}]}"#,
            "endpoints[1].weight: invalid type: string \"3\", expected u32",
        ),
        (
            r#"{"name":"a","nodes":[{"id":"a-1","address":"h","port":"80"}]}"#,
            "nodes[0].port: invalid type: string \"80\", expected u16",
        ),
        (
            r#"{"name":"a","metadata":{"k":1},"nodes":[]}"#,
            "metadata.k: invalid type: integer `1`, expected a string",
        ),
    ] {
        let run = place.run(&["register", record]);
        assert!(run.code == Some(2) && run.err.contains(why), "{record}: {run:?}");
    }
}

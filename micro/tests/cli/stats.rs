//! What endpoints say of themselves.

use crate::echo::Echo;

#[test]
fn stats_show_each_endpoint_and_top_does_so_again_and_again() {
    let echo = Echo::new();
    let stats = echo.place.ok(&["stats", "echo", "-o", "json"]);
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    for (at, id) in ["a", "b"].iter().enumerate() {
        let one = &stats[at];
        assert_eq!((one["id"].as_str(), one["state"].as_str()), (Some(*id), Some("serving")), "{stats}");
        assert_eq!(
            (one["requests"].as_u64(), one["memory_bytes"].as_u64()),
            (Some(7), Some(1 << 20)),
            "{stats}"
        );
    }
    let table = echo.place.ok(&["stats", "echo"]);
    assert!(table.starts_with("SERVICE  ENDPOINT  ADDRESS"), "{table}");
    let original = echo.place.ok(&["stats", "echo", "-o", "original"]);
    assert!(
        original.contains("\nnode\t\taddress:port\t\tstarted\tuptime\tmemory\tthreads\tgc\n"),
        "{original}"
    );
    assert!(
        original.contains(&format!("a\t\t{}\t\tJan 2 15:04:05\t1m1s\t1.00mb\t3\t0s\n", echo.address)),
        "{original}"
    );

    let rounds = echo.place.ok(&["top", "--count", "2", "--interval", "100ms", "-o", "json"]);
    let last: serde_json::Value = serde_json::from_str(rounds.lines().nth(1).unwrap()).unwrap();
    assert_eq!(last[0]["requests_per_second"].as_f64(), Some(0.0), "{last}");
}

#[test]
fn an_endpoint_that_is_gone_is_shown_and_counts_in_the_exit_code() {
    let echo = Echo::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    echo.place.ok(&["register", "echo", "-a", &nobody, "--id", "c", "--ttl", "0"]);
    let run = echo.place.run(&["stats", "echo"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(run.out.contains("unreachable") && run.err.contains("1 of 3 endpoints"), "{run:?}");
}

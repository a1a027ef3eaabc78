//! The machine and what runs on it: figures mean little without it.

use std::{fs, process::Command};

use crate::versions;

/// Crates that are measured, ours and others'.
const CRATES: [&str; 14] = [
    "micro-balance",
    "micro-tower",
    "tower",
    "tonic",
    "hyper",
    "h2",
    "tokio",
    "arc-swap",
    "prost",
    "async-nats",
    "lapin",
    "plotters",
    "axum",
    "rustls",
];

/// Programs that are measured or measure, and how they are asked who they are.
const PROGRAMS: [(&str, &str); 11] = [
    ("rustc", "--version"),
    ("nats-server", "--version"),
    ("rabbitmqctl", "version"),
    ("etcd", "--version"),
    ("consul", "version"),
    ("nginx", "-v"),
    ("haproxy", "-v"),
    ("caddy", "version"),
    ("wrk", "--version"),
    ("h2load", "--version"),
    ("valgrind", "--version"),
];

/// How busy it is, in a line.
pub fn state() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    match fs::read_to_string("/proc/loadavg") {
        Ok(load) => {
            format!("{cores} cores, load average {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
        }
        Err(_) => format!("{cores} cores"),
    }
}

/// Processor, kernel, crates and programs, as a list.
pub fn versions() -> String {
    let programs: Vec<_> = PROGRAMS.iter().filter_map(|(name, ask)| program(name, ask)).collect();
    format!(
        "- processor: {}\n- kernel: {}\n- crates: {}\n- programs: {}",
        processor().unwrap_or_else(|| "?".to_owned()),
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or_else(|_| "?".to_owned(), |it| it.trim().to_owned()),
        versions::of(&CRATES),
        programs.join(", "),
    )
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "))?.1;
    Some(name.to_owned())
}

/// The line in which a program says its version; none where it is not there.
fn program(name: &str, ask: &str) -> Option<String> {
    let output = Command::new(name).arg(ask).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = said.split_whitespace().map(|word| word.trim_start_matches(['v', 'V']));
    let version = version.map(|word| word.rsplit(['/', '-']).next().unwrap_or(word));
    let version = version
        .into_iter()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))?;
    Some(format!("{name} {}", version.trim_end_matches([',', ';'])))
}

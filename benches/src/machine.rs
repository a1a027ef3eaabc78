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

/// A program and its version; none where it is not there.
fn program(name: &str, ask: &str) -> Option<String> {
    let output = Command::new(name).arg(ask).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(format!("{name} {}", version(&String::from_utf8_lossy(&said))?))
}

/// The first number with a dot that a program says, without what a distribution adds to it.
fn version(said: &str) -> Option<&str> {
    let parts = said.split_whitespace().flat_map(|word| word.split(['/', '-']));
    let mut parts = parts.map(|part| part.trim_start_matches(['v', 'V']).trim_end_matches([',', ';']));
    parts.find(|part| part.starts_with(|c: char| c.is_ascii_digit()) && part.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_whatever_a_program_says() {
        let said = [
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("nats-server: v2.10.27", "2.10.27"),
            ("valgrind-3.19.0", "3.19.0"),
            ("rustc 1.95.0 (59807616e 2026-04-14)", "1.95.0"),
        ];
        for (said, wanted) in said {
            assert_eq!(version(said), Some(wanted), "{said}");
        }
        assert_eq!(version("command not found"), None);
    }
}

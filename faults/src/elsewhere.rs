//! Rows that tests of other packages show.

use std::{collections::HashSet, process::Stdio};

use anyhow::Context as _;
use tokio::process::Command;

use crate::outcome::Outcome;

/// Runs tests by cargo; all of the target's where none is named.
pub(crate) async fn tests(package: &str, target: &str, names: &[&str]) -> anyhow::Result<Outcome> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--package", package, "--all-features", "--test", target, "--"]).args(names);
    let output = cargo.stdin(Stdio::null()).output().await.context("cargo cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let result = |line: &str| {
        let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        Some((name.to_owned(), result.trim() == "ok"))
    };
    let results: Vec<(String, bool)> = text.lines().filter_map(result).collect();
    let passed: HashSet<&str> = results.iter().filter(|(_, ok)| *ok).map(|(name, _)| name.as_str()).collect();
    let skipped = text.contains("skipped:") || String::from_utf8_lossy(&output.stderr).contains("skipped:");
    let all = names.iter().all(|name| passed.iter().any(|passed| passed.ends_with(name)));
    let holds = output.status.success() && all && !passed.is_empty();
    if skipped {
        return Ok(Outcome::skipped(format!("{package}: a server is missing")));
    }
    let failed: Vec<&str> = results.iter().filter(|(_, ok)| !ok).map(|(name, _)| name.as_str()).collect();
    let failed = if failed.is_empty() { String::new() } else { format!("; failed: {}", failed.join(", ")) };
    Ok(Outcome::new(holds, format!("{} tests of {package}/{target} pass{failed}", passed.len())))
}

//! Wall clocks that are wrong.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::nothing;
use crate::{fleet::client, load::Load, outcome::Outcome, process::Process};

/// Where Debian's libfaketime is.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// Row 28: the wall clocks of nodes are hours wrong, while they keep their announcements alive.
pub(crate) async fn wrong() -> anyhow::Result<Outcome> {
    let Some(library) = LIBRARIES.iter().find(|path| Path::new(path).exists()) else {
        return Ok(Outcome::skipped("no libfaketime on this machine"));
    };
    let directory = tempfile::tempdir()?;
    let url = format!("file:{}", directory.path().display());
    let mut nodes = Vec::new();
    for offset in ["+1h", "-1h", "+100h", "-100h"] {
        let environment = [
            ("LD_PRELOAD", (*library).to_owned()),
            ("FAKETIME", offset.to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        nodes.push(Process::start(Some(&url), &environment).await?);
    }
    let client = client(Arc::clone(&micro_discover::open(&url)?), 4).await?;
    let mut fewest = 4;
    // Longer than two TTLs.
    let watching = async {
        for _ in 0..120 {
            sleep(Duration::from_millis(100)).await;
            fewest = fewest.min(client.endpoints().len());
        }
        nothing().await
    };
    let noticed = Load::gets(12).run(&client, watching).await?;
    Ok(Outcome::unnoticed(&noticed, fewest == 4, &format!(", never fewer than {fewest} of 4 known")))
}

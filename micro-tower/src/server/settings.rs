//! What the clients of a server may take up.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) streams: u32,
    pub(super) header_timeout: Duration,
    pub(super) header_bytes: u32,
    pub(super) body_rate: u64,
    pub(super) stall_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) ping_interval: Option<Duration>,
    pub(super) ping_timeout: Duration,
    /// How old a connection may get, and how long what was begun on it may take then.
    pub(super) age: Option<(Duration, Duration)>,
    /// Whether HTTP/1 connections may speak go-micro's RPC.
    pub(super) wire: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            streams: 200,
            header_timeout: Duration::from_secs(10),
            header_bytes: 16 << 10,
            body_rate: 100,
            stall_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            ping_interval: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(20),
            age: None,
            wire: false,
        }
    }
}

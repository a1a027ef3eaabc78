//! The lines of an open watch: as many as can be read at once, of bounded length.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::{Instant, timeout_at};

use super::failure::{Failure, Kind};

const LARGEST_LINE: usize = 16 << 20;
const LARGEST_BATCH: usize = 1 << 20;

/// The lines of an open watch.
pub(super) struct Lines {
    body: Body,
    partial: BytesMut,
    deadline: Instant,
}

impl Lines {
    /// Those of `body`, until `deadline`.
    pub(super) fn new(body: Body, deadline: Instant) -> Self {
        Self { body, partial: BytesMut::new(), deadline }
    }

    /// All lines that can be read now, at least one; none at the end, however it came.
    pub(super) async fn next(&mut self) -> Result<Vec<Bytes>, Failure> {
        loop {
            let Ok(frame) = timeout_at(self.deadline, self.body.frame()).await else { return Ok(Vec::new()) };
            let mut ended = !self.take(frame);
            let mut read = self.partial.len();
            while !ended && read < LARGEST_BATCH {
                let Some(frame) = self.body.frame().now_or_never() else { break };
                ended = !self.take(frame);
                read = self.partial.len();
            }
            let lines = self.split();
            if !lines.is_empty() || ended {
                return Ok(lines);
            }
            if self.partial.len() > LARGEST_LINE {
                return Err(Failure::new(Kind::Expired, "an event has no end"));
            }
        }
    }

    fn take(&mut self, frame: Option<Result<http_body::Frame<Bytes>, kube::Error>>) -> bool {
        match frame {
            Some(Ok(frame)) => {
                self.partial.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                true
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a watch is cut");
                false
            }
            None => false,
        }
    }

    fn split(&mut self) -> Vec<Bytes> {
        let Some(last) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole = self.partial.split_to(last + 1).freeze();
        let lines = whole.split(|byte| *byte == b'\n').map(|line| whole.slice_ref(line));
        lines.filter(|line| !line.trim_ascii().is_empty()).collect()
    }
}

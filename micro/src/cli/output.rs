//! Writes replies to standard output, in the format that was asked for.

use std::io::{self, Write};

use super::arguments::Format;
use super::screen::Screen;
use crate::command::Reply;

/// Where replies are written.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    screen: Screen,
    /// Whether several replies may come: JSON is then a document per line.
    several: bool,
    written: bool,
}

impl Output {
    pub(super) fn new(format: Format, screen: Screen, several: bool) -> Self {
        Self { format, screen, several, written: false }
    }

    /// Writes one reply, at once.
    pub(super) fn write(&mut self, reply: &Reply) -> io::Result<()> {
        let text = match self.format {
            Format::Table => self.screen.show(reply),
            Format::Json if self.several => serde_json::to_string(reply)? + "\n",
            Format::Json => serde_json::to_string_pretty(reply)? + "\n",
            Format::Yaml => {
                let between = if self.written { "---\n" } else { "" };
                let document = serde_saphyr::to_string(reply).map_err(io::Error::other)?;
                format!("{between}{}\n", document.trim_end())
            }
        };
        self.written = true;
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

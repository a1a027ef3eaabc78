//! Says on standard error why a command failed, and as which exit code.

use std::io::{self, Write};

use super::colour;
use super::screen::{paint, printable};
use crate::command::{Failure, Kind, chain};

/// Says what happened, what was tried and what to try. Answers with the exit code.
pub(super) fn report(failure: &Failure) -> u8 {
    let colours = colour::wanted(&io::stderr());
    let mut text = format!("{} {}\n", paint(colours, "1;31", "error:"), printable(&chain(failure)));
    if let Some(tried) = failure.what_was_tried() {
        text += &format!("{} {}\n", paint(colours, "1", "tried:"), printable(tried));
    }
    if let Some(hint) = failure.what_to_try() {
        text += &format!("{}   {}\n", paint(colours, "1", "try:"), printable(hint));
    }
    // Nobody is left to be told.
    io::stderr().write_all(text.as_bytes()).ok();
    code(failure.kind())
}

fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Other | Kind::Unread => 1,
        Kind::Usage => 2,
        Kind::NotFound => 3,
        Kind::Unavailable => 4,
    }
}

//! Says on standard error why a command failed.

use std::io::{self, Write};

use crate::causes::chain;
use crate::command::{Failure, Kind};
use crate::show::{paint, printable};

/// Says what happened, what was tried and what to try. Answers with the exit code.
pub(super) fn report(failure: &Failure, colours: bool) -> u8 {
    if failure.kind() == Kind::Help {
        // It was asked for, so it is the answer.
        io::stdout().write_all(format!("{failure}\n").as_bytes()).ok();
        return 0;
    }
    let mut text = format!("{} {}\n", paint(colours, "1;31", "error:"), printable(&chain(failure)));
    for detail in failure.what_more() {
        text += &format!("{} {}\n", paint(colours, "1", "detail:"), printable(detail));
    }
    if let Some(tried) = failure.what_was_tried() {
        text += &format!("{} {}\n", paint(colours, "1", "tried:"), printable(tried));
    }
    if let Some(hint) = failure.what_to_try() {
        text += &format!("{}   {}\n", paint(colours, "1", "try:"), printable(hint));
    }
    // Nobody is left to be told.
    io::stderr().write_all(text.as_bytes()).ok();
    failure.kind().exit_code()
}

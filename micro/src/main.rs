//! The `micro` program: see `micro --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    micro::cli::run(std::env::args_os())
}

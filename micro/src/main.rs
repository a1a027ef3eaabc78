//! The `micro` program: see `micro --help`.

use std::process::ExitCode;

/// A request through the gateway takes some dozens of allocations, which cost half as much here as in glibc.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    micro::cli::run(std::env::args_os())
}

//! Tells the program which compiler builds it, for `micro version`. It asks nobody else, so it works anywhere.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(compiler).arg("--version").output().ok();
    let said = said.and_then(|output| String::from_utf8(output.stdout).ok());
    println!("cargo:rustc-env=MICRO_RUSTC={}", said.as_deref().map_or("unknown", str::trim));
}

//! Generates the echo service that the end-to-end benches call.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    micro_build::Config::new().methods(true).compile(["proto/echo.proto"])?;
    Ok(())
}

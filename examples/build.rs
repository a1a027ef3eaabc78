//! Compiles the greeter's interface: all a service needs of a build script.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    micro_build::compile("proto/greeter.proto")?;
    micro_build::Config::new().wire(true).mock(true).compile(["proto/chat.proto"])?;
    Ok(())
}

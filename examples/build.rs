//! Compiles the interfaces of the examples. For one of your own, the first line is all a build script needs.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    micro_build::compile("proto/greeter.proto")?;
    // What `micro new order-book` writes, which is held to what it writes by a test of it.
    micro_build::compile("proto/order_book.proto")?;
    micro_build::Config::new().wire(true).mock(true).compile(["proto/chat.proto"])?;
    let interop = ["interop/test.proto", "xds/service/orca/v3/orca.proto"];
    let interop = interop.map(|file| format!("proto/{file}"));
    micro_build::Config::new().include("proto").file_descriptor_set("interop.bin").compile(interop)?;
    Ok(())
}

//! The echo service as generated from `proto/echo.proto`.
#![allow(missing_docs, clippy::all, reason = "generated")]

tonic::include_proto!("echo");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generated_record_names_the_echo_method() {
        let methods = echo_record::methods();
        assert_eq!((echo_record::NAME, methods.len()), ("echo", 1));
        assert_eq!(
            (methods[0].name.as_str(), methods[0].metadata["grpc"].as_str()),
            ("Echo.Unary", "/echo.Echo/Unary")
        );
        let request = methods[0].request.as_ref().unwrap();
        assert_eq!((request.values[0].name.as_str(), request.values[0].kind.as_str()), ("data", "bytes"));
    }
}

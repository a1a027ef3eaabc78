//! How Rust calls what a `.proto` names.

/// `GreeterV2` as `greeter_v2`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut after_small = false;
    for c in name.chars() {
        if c.is_uppercase() && after_small {
            snake.push('_');
        }
        after_small = !c.is_uppercase() && c != '_';
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_as_rust_names_modules() {
        let names = ["Greeter", "GreeterV2", "HTTPProxy", "a_Service", "x"];
        assert_eq!(names.map(snake), ["greeter", "greeter_v2", "httpproxy", "a_service", "x"]);
    }
}

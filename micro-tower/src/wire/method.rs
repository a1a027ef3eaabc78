//! The ways to write a method's name.

/// Service and method, as in `Greeter.Hello`, `greeter.Greeter.Hello`, `greeter.Greeter/Hello` and
/// `/greeter.Greeter/Hello`. The service keeps its package.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix('/').unwrap_or(name);
    let (service, method) = name.split_once('/').or_else(|| name.rsplit_once('.'))?;
    let whole = !service.is_empty() && !method.is_empty();
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#%".contains(&byte));
    (whole && plain(service) && plain(method)).then_some((service, method))
}

/// `Greeter.Hello`: what go-micro calls a method, without its package.
pub(super) fn short(service: &str, method: &str) -> String {
    let service = service.rsplit('.').next().unwrap_or(service);
    format!("{service}.{method}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_many_names() {
        for (name, service) in [
            ("Greeter.Hello", "Greeter"),
            ("a.b.Greeter.Hello", "a.b.Greeter"),
            ("a.b.Greeter/Hello", "a.b.Greeter"),
            ("/a.b.Greeter/Hello", "a.b.Greeter"),
            ("/Greeter/Hello", "Greeter"),
        ] {
            assert_eq!(split(name), Some((service, "Hello")));
            assert_eq!(short(service, "Hello"), "Greeter.Hello");
        }
        for name in ["", "/", "Greeter", "Greeter/", ".Hello", "a/b/c", "a b.c", "a/b?c"] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}

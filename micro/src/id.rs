//! The id of an endpoint that is known by its name and its address: the same each time, so that to announce it again, after
//! whoever did so was killed, is to take its record over.

use micro_discover::Address;

use crate::this_machine::is_this_machine;

/// The id of the endpoint of `name` at `address`.
pub(crate) fn of(name: &str, address: &Address) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let address: String = address.to_string().chars().map(plain).collect();
    format!("{name}-{}", address.replace("..", "-").trim_matches('-'))
}

/// The same for a program that may have a namesake at the same address of another machine, as with `127.0.0.1:9090` and
/// `unix:/run/app.sock`: then this machine's name is in it.
pub(crate) fn here(name: &str, address: &Address) -> String {
    let id = of(name, address);
    if !is_this_machine(address.authority()) {
        return id;
    }
    let machine = rustix::system::uname();
    let machine: String =
        machine.nodename().to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{id}-{machine}")
}

#[cfg(test)]
mod tests {
    use micro_discover::{Endpoint, Service};

    use super::*;

    #[test]
    fn an_id_says_where_the_endpoint_is() {
        let cases = [
            ("127.0.0.1:50051", "greeter-127.0.0.1-50051", true),
            ("[::1]:80", "greeter-1--80", true),
            ("unix:/run/a..b.sock", "greeter-unix--run-a-b.sock", true),
            ("10.0.0.5:80", "greeter-10.0.0.5-80", false),
            ("https://shop.example:443", "greeter-https---shop.example-443", false),
        ];
        for (address, expected, has_machine) in cases {
            let address: Address = address.parse().unwrap();
            assert_eq!(of("greeter", &address), expected);
            let here = here("greeter", &address);
            assert!(here.starts_with(expected) && (here != expected) == has_machine, "{here}");
            for id in [expected.to_owned(), here] {
                let service = Service::new("greeter").endpoint(Endpoint::new(id, address.clone()));
                assert_eq!(service.validate(), Ok(()));
            }
        }
    }
}

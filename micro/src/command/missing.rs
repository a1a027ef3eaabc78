//! What is said about a name that nobody has: that it is missing, and which one was perhaps meant.

use std::collections::BTreeSet;

use super::context::Context;
use super::failure::{Failure, Kind};

/// There is no service `name`; the registry's names are looked through for one like it.
pub(super) async fn service(context: &Context, name: &str, verb: &str) -> Failure {
    let failure = Failure::new(Kind::NotFound, format!("there is no service {name:?}"))
        .tried(format!("to {verb} it, in the registry {}", context.url()));
    // The name is missing whether or not another can be suggested.
    let services = context.ask("to list services", context.registry().list()).await.unwrap_or_default();
    let names: BTreeSet<_> = services.iter().map(|service| service.name.as_str()).collect();
    match closest(name, names.iter().copied()) {
        Some(like) => failure.hint(format!("micro {verb} {like}")),
        None if names.is_empty() => {
            failure.hint("micro register, or another --registry (MICRO_REGISTRY): this one is empty")
        }
        None => failure.hint("micro list, which names every service"),
    }
}

/// Which of `names` was perhaps meant by `name`: one that contains it or is a third of its letters away at most.
pub(super) fn closest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let low = name.to_lowercase();
    let near = |other: &str| match strsim::damerau_levenshtein(&low, &other.to_lowercase()) {
        far if far <= name.chars().count().div_ceil(3) => Some(far),
        _ if low.len() > 2 && other.to_lowercase().contains(&low) => Some(usize::MAX),
        _ => None,
    };
    names.filter_map(|other| near(other).map(|far| (far, other))).min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name_and_another_word_does_not() {
        let names = ["go.micro.srv.orders", "greeter", "greeter2", "users"];
        let cases = [
            ("greter", Some("greeter")),
            ("gretere", Some("greeter")),
            ("Greeter", Some("greeter")),
            ("orders", Some("go.micro.srv.orders")),
            ("user", Some("users")),
            ("payments", None),
            ("", None),
        ];
        for (name, meant) in cases {
            assert_eq!(closest(name, names.into_iter()), meant, "{name}");
        }
    }
}

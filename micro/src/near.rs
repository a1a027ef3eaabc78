//! Which name was perhaps meant by one that nobody has.

/// Which of `names` was perhaps meant by `name`: one that contains it or is a third of its letters away at most, or one.
pub(crate) fn closest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let low = name.to_lowercase();
    let near = |other: &str| match strsim::damerau_levenshtein(&low, &other.to_lowercase()) {
        far if far <= (name.chars().count() / 3).max(1) && far < name.chars().count() => Some(far),
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
            ("uxyrs", None),
            ("", None),
        ];
        for (name, meant) in cases {
            assert_eq!(closest(name, names.into_iter()), meant, "{name}");
        }
    }
}

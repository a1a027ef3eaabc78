//! The words of a line: the original's way to say what a command is about, as in `list services`, and names that others
//! chose.

/// What follows the word `noun` in `words`, where they begin with it.
pub(super) fn after<'a>(words: &'a [String], noun: &str) -> Option<&'a [String]> {
    match words.split_first() {
        Some((first, rest)) if first == noun => Some(rest),
        _ => None,
    }
}

/// `name` as a shell reads it, in a line that somebody may copy: whoever registers a service chooses what it is called.
pub(super) fn word(name: &str) -> String {
    match shlex::try_quote(name) {
        Ok(quoted) => quoted.into_owned(),
        Err(_) => format!("{name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_shell_whatever_it_holds() {
        for (name, written) in [
            ("go.micro.srv.greeter", "go.micro.srv.greeter"),
            ("x;reboot", "'x;reboot'"),
            ("$(reboot)", "'$(reboot)'"),
        ] {
            assert_eq!(word(name), written);
        }
    }
}

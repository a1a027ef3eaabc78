//! Whether there is colour: by terminal, `NO_COLOR`, `CLICOLOR_FORCE` and `TERM`.

use std::env;
use std::io::IsTerminal;

/// Whether to write colours to `stream`; `asked` is `always`, `never` or `auto`.
pub(super) fn wanted(stream: &impl IsTerminal, asked: Option<&str>) -> bool {
    match asked {
        Some("always") => return true,
        Some("never") => return false,
        _ => {}
    }
    decide(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()), stream.is_terminal())
}

fn decide(variable: impl Fn(&str) -> Option<String>, terminal: bool) -> bool {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    terminal && set("TERM").is_none_or(|value| value != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_wins_over_force_over_the_terminal() {
        let cases = [
            (&[][..], true, true),
            (&[], false, false),
            (&[("NO_COLOR", "1")], true, false),
            (&[("NO_COLOR", "")], true, true),
            (&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true, false),
            (&[("CLICOLOR_FORCE", "1")], false, true),
            (&[("CLICOLOR_FORCE", "0")], false, false),
            (&[("TERM", "dumb")], true, false),
        ];
        for (set, terminal, expected) in cases {
            let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(decide(variable, terminal), expected, "{set:?} {terminal}");
        }
    }
}

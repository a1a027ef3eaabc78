//! Errors and what caused them, in words.

use std::error::Error;

/// An error and its causes in one line; a cause whose words are already there is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = line(error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = line(error.to_string());
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// The first cause of all: for where the rest is said already.
pub(crate) fn root(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// Words in one line, without the lines of a file that TOML's errors draw.
fn line(words: String) -> String {
    if !words.contains('\n') {
        return words;
    }
    let drawn =
        |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    let said: Vec<_> = words.lines().map(str::trim).filter(|line| !line.is_empty() && !drawn(line)).collect();
    said.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_toml_takes_one_line() {
        let error = toml::from_str::<toml::Table>("registry = \n").unwrap_err();
        let said = chain(&error);
        assert!(said.starts_with("TOML parse error at line 1, column 12 string values"), "{said:?}");
        assert!(!said.contains(['\n', '|', '^']), "{said:?}");
    }
}

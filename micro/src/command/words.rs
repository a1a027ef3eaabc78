//! The original's way to say what a command is about: `list services`, `get service NAME`, `register service JSON`.

/// What follows the word `noun` in `words`, where they begin with it.
pub(super) fn after<'a>(words: &'a [String], noun: &str) -> Option<&'a [String]> {
    match words.split_first() {
        Some((first, rest)) if first == noun => Some(rest),
        _ => None,
    }
}

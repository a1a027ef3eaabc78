//! Where a new service finds the library that this program was built from.

use std::path::{Path, PathBuf};

const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What of the checkout a service is built from: the manifest that all share, and what depends on what.
const PARTS: [&str; 6] =
    ["Cargo.toml", "micro-balance", "micro-broker", "micro-build", "micro-discover", "micro-tower"];

/// The checkout, if it is on this machine.
fn checkout() -> Option<PathBuf> {
    Path::new(CHECKOUT).canonicalize().ok().filter(|checkout| checkout.join("micro-tower").is_dir())
}

/// How a manifest names the crate `name`.
pub(super) fn dependency(name: &str) -> String {
    match checkout() {
        Some(checkout) => format!("path = {:?}", checkout.join(name).display().to_string()),
        None => "version = \"0.1\"".to_owned(),
    }
}

/// The versions of everything else that this program was built and tested with.
pub(super) fn lock() -> Option<PathBuf> {
    Some(checkout()?.join("Cargo.lock")).filter(|lock| lock.is_file())
}

/// What `docker build` has to be told so that an image can have the library, with a blank behind it.
pub(super) fn build_context() -> String {
    checkout().map_or_else(String::new, |checkout| format!("--build-context micro={} ", quoted(&checkout)))
}

/// The lines of a Dockerfile that copy the library to where manifests name it.
pub(super) fn copies() -> String {
    let Some(checkout) = checkout() else { return String::new() };
    let copy = |part: &str| {
        let to = checkout.join(part).display().to_string();
        format!("COPY --from=micro [{part:?}, {to:?}]\n")
    };
    let why = "# The library, to the paths in Cargo.toml: --build-context says where it is. Not wanted where Cargo.toml has\n\
               # `git = …` or a version instead.\n";
    PARTS.iter().fold(why.to_owned(), |lines, part| lines + &copy(part))
}

/// As a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        let written = |path: &str| quoted(Path::new(path));
        assert_eq!((written("/src/micro").as_str(), written("/a b").as_str()), ("/src/micro", "'/a b'"));
        assert_eq!(written("/it's"), r"'/it'\''s'");
    }
}

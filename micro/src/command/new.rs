//! `new`: a service that builds and runs at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use futures_core::future::BoxFuture;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::handler::{Command, Replies};
use super::library;
use super::reply::{Created, Reply};

/// Writes a new service: interface, handlers, a test, a Dockerfile.
#[derive(Args, Clone, Debug)]
#[non_exhaustive]
pub struct New {
    /// The directory to make; its last part is the service's name
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The service's name in the registry and of its crate, instead of the directory's
    #[arg(long, visible_alias = "alias")]
    pub fqdn: Option<String>,
    /// What is made: srv
    #[arg(long, default_value = "srv", hide_default_value = true)]
    pub r#type: String,
}

const FILES: [(&str, &str); 9] = [
    ("Cargo.toml", include_str!("../../templates/service/Cargo.toml.txt")),
    ("build.rs", include_str!("../../templates/service/build.rs.txt")),
    ("proto/{{file}}.proto", include_str!("../../templates/service/interface.proto.txt")),
    ("src/main.rs", include_str!("../../templates/service/main.rs.txt")),
    ("src/handler.rs", include_str!("../../templates/service/handler.rs.txt")),
    ("Dockerfile", include_str!("../../templates/service/Dockerfile.txt")),
    ("README.md", include_str!("../../templates/service/README.md.txt")),
    (".gitignore", "/target\n"),
    (".dockerignore", "/target\n"),
];

/// Directories of cargo, which no program may be called.
const CARGO: [&str; 4] = ["build", "deps", "examples", "incremental"];
/// The messages of the interface, which stand beside the service, and what Rust means by it.
const TAKEN: [&str; 7] = ["Ping", "Pong", "Request", "Response", "Self", "StreamRequest", "StreamResponse"];

impl Command for New {
    fn run<'a>(&'a self, context: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            context.may_name_files("the service")?;
            let usage = |what: String| Failure::new(Kind::Usage, what).hint("micro new greeter");
            let dir = self.dir.as_ref().ok_or_else(|| usage("specify service name".to_owned()))?;
            if self.r#type != "srv" {
                return Err(usage(format!("Unknown type {}", self.r#type)));
            }
            let name = match &self.fqdn {
                Some(name) => name.clone(),
                None => {
                    let nameless = || usage(format!("{} has no name of its own", dir.display()));
                    dir.file_name().ok_or_else(nameless)?.to_string_lossy().into_owned()
                }
            };
            let words = Words::of(&name)?;
            if dir.exists() {
                return Err(Failure::new(Kind::Usage, format!("{} already exists", dir.display()))
                    .hint("another directory; --fqdn keeps the service's name"));
            }
            let mut files = Vec::new();
            for (path, text) in FILES {
                let path = dir.join(words.fill(path));
                write(&path, &words.fill(text))?;
                files.push(path.display().to_string());
            }
            // So that nothing needs to be looked up.
            if let Some(lock) = library::lock() {
                let path = dir.join("Cargo.lock");
                fs::copy(&lock, &path).map_err(|error| cannot(&path, error))?;
            }
            replies.send(Reply::Created(Created { name, files })).await
        })
    }
}

/// A service's name, as each place writes it.
struct Words {
    name: String,
    package: String,
    camel: String,
}

impl Words {
    fn of(name: &str) -> Result<Self, Failure> {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(sound) {
            let what = format!("{name:?} cannot be the name of a service and its crate");
            return Err(
                Failure::new(Kind::Usage, what).hint("small letters, digits, - and _; a letter first")
            );
        }
        let package = name.replace('-', "_");
        let camel: String = package
            .split('_')
            .map(|word| {
                let mut letters = word.chars();
                letters
                    .next()
                    .map(|first| first.to_ascii_uppercase())
                    .into_iter()
                    .chain(letters)
                    .collect::<String>()
            })
            .collect();
        if CARGO.contains(&name) || TAKEN.contains(&&*camel) {
            let what = format!("{name:?} is the name of something else in what is written");
            return Err(Failure::new(Kind::Usage, what).hint(format!("micro new {name}-service")));
        }
        Ok(Self { name: name.to_owned(), camel, package })
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text
            .replace("{{name}}", &self.name)
            .replace("{{file}}", &self.package)
            .replace("{{package}}", &self.package)
            .replace("{{module}}", &snake(&self.camel))
            .replace("{{Name}}", &self.camel)
            .replace("{{context}}", &library::build_context())
            .replace("{{library}}", &library::copies());
        for name in ["micro-tower", "micro-discover", "micro-build"] {
            text = text.replace(&format!("{{{{{name}}}}}"), &library::dependency(name));
        }
        text
    }
}

/// As the generator names the module of a service.
fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).and_then(|()| fs::write(path, text)).map_err(|error| cannot(path, error))
}

fn cannot(path: &Path, error: io::Error) -> Failure {
    Failure::new(Kind::Other, format!("cannot write {}", path.display())).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_each_place_needs_it() {
        let words = Words::of("order-book2").unwrap();
        assert_eq!(
            words.fill("{{name}} {{package}} {{Name}} {{module}}"),
            "order-book2 order_book2 OrderBook2 order_book2"
        );
        for bad in ["", "Greeter", "2x", "a/b", "a b", "../x", "build", "ping", "stream-request", "self"] {
            assert!(Words::of(bad).is_err(), "{bad}");
        }
    }
}

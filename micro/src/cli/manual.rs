//! `man`: manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_mangen::Man;
use futures_core::future::BoxFuture;

use super::arguments::Arguments;
use crate::command::{Command, Context, Failure, Kind, Replies, Reply, Text};
use crate::near::closest;

/// Writes the manual page, a command's, or all of them into a directory.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Manual {
    /// The command whose page it is, instead of micro's own
    pub(super) command: Option<String>,
    /// Where to write micro.1 and a page for each command, instead of one to standard output
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(super) dir: Option<PathBuf>,
}

impl Command for Manual {
    fn run<'a>(&'a self, _: &'a Context, replies: &'a Replies) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            let mut command = Arguments::command();
            command.build();
            let text = match &self.dir {
                None => match &self.command {
                    None => page(command)?,
                    Some(name) => page(one(&command, name)?)?,
                },
                Some(dir) => {
                    fs::create_dir_all(dir).map_err(|error| cannot(dir, error))?;
                    let each =
                        command.get_subcommands().map(|c| (format!("micro-{}", c.get_name()), c.clone()));
                    let each: Vec<_> = each.collect();
                    let mut written = String::new();
                    for (name, command) in [("micro".to_owned(), command)].into_iter().chain(each) {
                        let path = dir.join(format!("{name}.1"));
                        fs::write(&path, page(command)?).map_err(|error| cannot(&path, error))?;
                        written += &format!("{}\n", path.display());
                    }
                    written
                }
            };
            replies.send(Reply::Text(Text::new(text))).await
        })
    }
}

/// The command that is called `name`.
fn one(all: &clap::Command, name: &str) -> Result<clap::Command, Failure> {
    all.find_subcommand(name).cloned().ok_or_else(|| {
        let failure = Failure::new(Kind::Usage, format!("there is no command {name:?}"));
        let names = all.get_subcommands().map(clap::Command::get_name);
        failure.hint(closest(name, names).map_or("micro help".to_owned(), |like| format!("micro man {like}")))
    })
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    let made = Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::new(Kind::Other, "no page").source(error));
    made?;
    String::from_utf8(page).map_err(|error| Failure::new(Kind::Other, "the page is no text").source(error))
}

fn cannot(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Kind::Other, format!("cannot write {}", path.display())).source(error)
}

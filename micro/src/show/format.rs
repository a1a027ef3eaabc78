//! The forms that replies are written in.

use clap::ValueEnum;

/// How replies are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with every field
    Wide,
    /// For programs; a command that may give several answers writes a document per line
    Json,
    /// For programs, one document per line: lists come apart
    Ndjson,
    /// For programs; a document per answer
    Yaml,
    /// Names or ids alone, one per line
    Name,
    /// As go-micro's micro writes it
    Original,
}

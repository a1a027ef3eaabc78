//! What a bench tells: printed at once, and kept for the page on which all benches stand together.

mod chart;
mod kept;
mod page;
mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{kept::Kept, page::write as write_page, table::Table};

/// What a bench has told so far, in order.
///
/// ```
/// use benches::report::{Report, Table};
///
/// let mut report = Report::default();
/// report.say("2 cases, 9 rounds");
/// let table = Table::new("N=10").column("CPU ns", 1).row("theirs", [479.0]).row("ours", [29.4]);
/// report.table(table.charted("CPU ns"));
/// ```
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Report {
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
enum Entry {
    Line(String),
    Void(String),
    Table(Table),
}

impl Report {
    /// A line: versions, what is measured and how, what is left out and why.
    pub fn say(&mut self, line: impl Into<String>) {
        self.tell(Entry::Line(line.into()));
    }

    /// Why figures that are shown prove nothing in this run.
    pub fn void(&mut self, why: impl Into<String>) {
        self.tell(Entry::Void(why.into()));
    }

    /// A table.
    pub fn table(&mut self, table: Table) {
        self.tell(Entry::Table(table));
    }

    fn tell(&mut self, entry: Entry) {
        println!("{entry}");
        self.entries.push(entry);
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.write_str(line),
            Self::Void(why) => write!(f, "void: {why}"),
            Self::Table(table) => write!(f, "\n{table}"),
        }
    }
}

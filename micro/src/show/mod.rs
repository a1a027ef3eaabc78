//! Replies as text: what the command line prints, and every other face that answers in lines.
//!
//! ```
//! use micro::command::Reply;
//! use micro::show::{Format, Show};
//!
//! let mut show = Show::new(Format::Json);
//! assert_eq!(show.text(&Reply::Services(Vec::new())).unwrap(), "[]\n");
//! ```

mod benched;
mod fields;
mod format;
mod names;
mod original;
mod screen;

mod writer;

pub use format::Format;
pub(crate) use screen::{COLUMNS, columns, paint, printable};
pub use writer::Show;

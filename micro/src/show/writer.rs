//! From a reply to its text.

use std::io;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Serializer, Value};

use super::fields::{self, Row};
use super::format::Format;
use super::names::names;
use super::original;
use super::screen::Screen;
use crate::command::{Failure, Kind, Reply};

/// Writes replies, one after the other.
#[derive(Clone, Debug)]
#[must_use]
pub struct Show {
    format: Format,
    colour: bool,
    several: bool,
    fields: Vec<String>,
    written: bool,
    /// Of the table that rows go on, which come one by one: padded to the widths so far.
    header: Vec<String>,
}

impl Show {
    /// Writes in `format`, without colour.
    pub fn new(format: Format) -> Self {
        Self { format, colour: false, several: false, fields: Vec::new(), written: false, header: Vec::new() }
    }

    /// Whether tables have ANSI colours.
    pub fn colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    /// Whether several replies may come: JSON is then a document per line.
    pub fn several(mut self, several: bool) -> Self {
        self.several = several;
        self
    }

    /// Only these fields of each row; all of them if there are none.
    pub fn fields(mut self, fields: Vec<String>) -> Self {
        self.fields = fields;
        self
    }

    /// The lines of one reply, each with its line feed; nothing where there is nothing to show.
    ///
    /// # Errors
    ///
    /// [`Kind::Usage`] for a field that is not there, [`Kind::Other`] for what the format has no words for.
    pub fn text(&mut self, reply: &Reply) -> Result<String, Failure> {
        if matches!(reply, Reply::Progress(_)) {
            return Ok(String::new());
        }
        let first = !std::mem::replace(&mut self.written, true);
        if self.format == Format::Name {
            let names = names(reply);
            return match (names.is_empty(), reply) {
                (true, Reply::Answer(_)) => line(reply),
                (true, Reply::Text(text)) => Ok(text.text.clone()),
                _ => Ok(names.iter().map(|name| format!("{name}\n")).collect()),
            };
        }
        if !self.fields.is_empty() {
            let value = value(reply)?;
            let names = self.fields.clone();
            let rows = fields::pick(&value, &names)?;
            return match self.format {
                Format::Table | Format::Wide | Format::Original => {
                    Ok(self.rows(&names, &rows, !value.is_array()))
                }
                _ if value.is_array() => self.data(&rows, first),
                _ => self.data(&rows.first(), first),
            };
        }
        match self.format {
            Format::Table => Ok(self.screen().show(reply)),
            Format::Original => Ok(original::text(reply).unwrap_or_else(|| self.screen().show(reply))),
            Format::Wide => match reply {
                // What is a text of several lines has all its fields in it.
                Reply::Answer(_)
                | Reply::Benched(_)
                | Reply::Described(_)
                | Reply::Metadata(_)
                | Reply::Published(_)
                | Reply::Text(_) => Ok(self.screen().show(reply)),
                _ => {
                    let names = fields::all(&serde_json::to_string(reply).map_err(failed)?);
                    let value = value(reply)?;
                    Ok(self.rows(&names, &fields::pick(&value, &names)?, !value.is_array()))
                }
            },
            _ => self.data(reply, first),
        }
    }

    fn screen(&self) -> Screen {
        Screen { colour: self.colour }
    }

    /// A table, or if this is one row `alone` what it adds to the table of the row before.
    fn rows(&mut self, names: &[String], rows: &[Row<'_>], alone: bool) -> String {
        let cells = |row: &Row<'_>| row.0.iter().map(|(_, value)| fields::cell(value)).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
        let names: Vec<_> = names.iter().map(|name| name.to_uppercase()).collect();
        let goes_on = alone && self.header.iter().map(|name| name.trim_end()).eq(&names);
        let mut header = if goes_on { std::mem::take(&mut self.header) } else { names };
        if alone {
            for (name, cell) in header.iter_mut().zip(rows.iter().flatten()) {
                *name = format!("{name:<width$}", width = cell.chars().count());
            }
        }
        let table = self.screen().plain(&header, rows.into_iter());
        self.header = header;
        match table.split_once('\n') {
            Some((_, row)) if goes_on => row.to_owned(),
            _ => table,
        }
    }

    fn data(&self, data: &impl Serialize, first: bool) -> Result<String, Failure> {
        match self.format {
            Format::Yaml => {
                let between = if first { "" } else { "---\n" };
                let document =
                    serde_saphyr::to_string(data).map_err(|error| failed(io::Error::other(error)))?;
                Ok(format!("{between}{}\n", document.trim_end()))
            }
            Format::Ndjson => match serde_json::to_value(data).map_err(failed)? {
                Value::Array(rows) if !rows.is_empty() => apart(data),
                Value::Array(_) => Ok(String::new()),
                _ => line(data),
            },
            _ if self.several => line(data),
            _ => Ok(serde_json::to_string_pretty(data).map_err(failed)? + "\n"),
        }
    }
}

/// A list, a line for each of its elements as it is written in the list.
fn apart(data: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(data).map_err(failed)?;
    let rows: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&text).map_err(failed)?;
    Ok(rows.iter().map(|row| format!("{}\n", row.get())).collect())
}

fn line(data: &impl Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string(data).map_err(failed)? + "\n")
}

fn value(reply: &Reply) -> Result<Value, Failure> {
    serde_json::to_value(reply).map_err(failed)
}

/// JSON indented by tabs, as the original's answers are.
pub(super) fn tabs(data: &impl Serialize) -> Result<String, Failure> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    data.serialize(&mut serializer).map_err(failed)?;
    text.push(b'\n');
    String::from_utf8(text).map_err(failed)
}

fn failed(error: impl Into<tower::BoxError>) -> Failure {
    Failure::new(Kind::Other, "the answer cannot be written in this format").source(error)
}

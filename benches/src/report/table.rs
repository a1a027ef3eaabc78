//! Rows of figures under named columns.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::figure::or_nan;

/// A table of figures: one row for each case.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[must_use]
pub struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// The column that a chart is drawn of.
    pub(super) charted: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    decimals: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) figures: Vec<Figure>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Figure(#[serde(deserialize_with = "or_nan")] pub(super) f64);

impl Table {
    /// A table without columns and rows.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), columns: Vec::new(), rows: Vec::new(), charted: None }
    }

    /// One more column, whose figures have so many decimals.
    pub fn column(mut self, name: impl Into<String>, decimals: usize) -> Self {
        self.columns.push(Column { name: name.into(), decimals });
        self
    }

    /// One more row: a figure for each column, `NaN` where there is none.
    pub fn row(mut self, name: impl Into<String>, figures: impl IntoIterator<Item = f64>) -> Self {
        let figures = figures.into_iter().map(Figure).collect();
        self.rows.push(Row { name: name.into(), figures });
        self
    }

    /// Draws a chart of the column of this name.
    pub fn charted(mut self, column: impl Into<String>) -> Self {
        self.charted = Some(column.into());
        self
    }

    /// The figures of a row as text, by column.
    pub(super) fn cells(&self, row: &Row) -> Vec<String> {
        let cell = |(column, Figure(figure)): (&Column, &Figure)| match figure.is_nan() {
            true => "-".to_owned(),
            false => format!("{figure:.*}", column.decimals),
        };
        self.columns.iter().zip(&row.figures).map(cell).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.rows.iter().map(|row| row.name.chars().count());
        let first = names.chain([self.title.chars().count(), 36]).max().unwrap_or_default();
        let width = |column: &Column| column.name.chars().count().max(8) + 2;
        write!(f, "{:<first$}", self.title)?;
        for column in &self.columns {
            write!(f, "{:>1$}", column.name, width(column))?;
        }
        for row in &self.rows {
            write!(f, "\n{:<first$}", row.name)?;
            for (cell, column) in self.cells(row).iter().zip(&self.columns) {
                write!(f, "{cell:>0$}", width(column))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_under_their_columns_and_what_was_not_measured_is_a_dash() {
        let table = Table::new("N=10").column("CPU ns", 1).column("allocs", 0).row("ours", [29.44, f64::NAN]);
        let lines: Vec<String> = table.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].find("CPU ns").map(|at| at + 6), lines[1].find("29.4").map(|at| at + 4));
        assert!(lines[1].ends_with(" -"), "{}", lines[1]);
    }

    #[test]
    fn what_was_not_measured_survives_being_kept() {
        let kept = serde_json::to_string(&Table::new("t").column("c", 1).row("r", [f64::NAN, 1.5])).unwrap();
        let table: Table = serde_json::from_str(&kept).unwrap();
        assert!(table.rows[0].figures[0].0.is_nan());
        assert_eq!(table.rows[0].figures[1].0, 1.5);
    }
}

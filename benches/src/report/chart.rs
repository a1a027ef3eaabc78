//! A chart of one column of a table: a bar for each row.

use std::fmt::Display;

use plotters::{coord::ranged1d::ValueFormatter, prelude::*};
use tower::BoxError;

use super::table::Table;

/// What is ours, and what it is measured against.
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
/// Figures further apart than this are drawn on a logarithmic scale.
const FAR: f64 = 40.0;

/// The SVG of the charted column; `None` when there is none, or nothing to draw.
pub(super) fn draw(table: &Table) -> Result<Option<String>, BoxError> {
    let Some(place) =
        table.charted.as_ref().and_then(|name| table.columns.iter().position(|it| it.name == *name))
    else {
        return Ok(None);
    };
    let rows: Vec<(&str, f64)> = table
        .rows
        .iter()
        .filter_map(|row| Some((row.name.as_str(), row.figures.get(place)?.0)))
        .filter(|(_, figure)| figure.is_finite())
        .collect();
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max);
    if most <= 0.0 {
        return Ok(None);
    }
    let least = rows.iter().map(|row| row.1).filter(|&figure| figure > 0.0).fold(most, f64::min);
    let caption = format!("{}: {}", table.title, table.columns[place].name);
    let svg = match most / least > FAR {
        true => bars(&caption, &rows, least / 2.0, (least / 2.0..most * 1.6).log_scale())?,
        false => bars(&caption, &rows, 0.0, 0.0..most * 1.08)?,
    };
    Ok(Some(svg))
}

fn bars<X>(
    caption: &str,
    rows: &[(&str, f64)],
    from: f64,
    figures: impl plotters::coord::ranged1d::AsRangedCoord<CoordDescType = X, Value = f64>,
) -> Result<String, BoxError>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let height = 76 + 26 * u32::try_from(rows.len())?;
        let area = SVGBackend::with_string(&mut svg, (880, height)).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(26)
            .y_label_area_size(300)
            .build_cartesian_2d(figures, (0..rows.len()).into_segmented())
            .map_err(drawing)?;
        let name = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(at) => rows.iter().rev().nth(*at).map_or("", |row| row.0).to_owned(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(rows.len())
            .y_label_formatter(&name)
            .label_style(("sans-serif", 13))
            .draw()
            .map_err(drawing)?;
        let bar = |(at, row): (usize, &(&str, f64))| {
            let corners = [(from, SegmentValue::Exact(at)), (row.1.max(from), SegmentValue::Exact(at + 1))];
            let mut bar = Rectangle::new(corners, colour(row.0).filled());
            bar.set_margin(3, 3, 0, 0);
            bar
        };
        chart.draw_series(rows.iter().rev().enumerate().map(bar)).map_err(drawing)?;
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

fn colour(name: &str) -> RGBColor {
    if name.contains("ours") || name.contains("micro") { OURS } else { OTHERS }
}

/// The library's error borrows what it draws on.
fn drawing(error: impl Display) -> BoxError {
    format!("the chart cannot be drawn: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_bar_and_its_name() {
        for theirs in [30.0, 3_000.0] {
            let table = Table::new("N=10").column("CPU ns", 1).row("theirs", [theirs]).row("ours", [29.0]);
            let svg = draw(&table.charted("CPU ns")).unwrap().unwrap();
            assert!(svg.starts_with("<svg") && svg.contains("theirs") && svg.contains("ours"), "{svg}");
            let bars = |colour: &str| svg.matches(&format!("fill=\"{colour}\"")).count();
            assert_eq!((bars("#1F6FB4"), bars("#9AA5B1")), (1, 1), "{svg}");
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let table = Table::new("N=10").column("CPU ns", 1).row("ours", [f64::NAN]);
        assert!(draw(&table.clone().charted("CPU ns")).unwrap().is_none());
        assert!(draw(&table.charted("no such column")).unwrap().is_none());
    }
}

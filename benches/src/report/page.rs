//! The page on which all benches stand together, with their charts beside it.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use tower::BoxError;

use super::{Entry, Kept, Table, chart};
use crate::bar::{Bar, Verdict};

/// Writes `REPORT.md` and `charts/*.svg` beside this crate's manifest; gives the path of the page.
///
/// # Errors
///
/// When a file cannot be written or a chart not drawn.
pub fn write(versions: &str, words: &[Kept]) -> Result<PathBuf, BoxError> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let charts = home.join("charts");
    if charts.exists() {
        fs::remove_dir_all(&charts)?;
    }
    fs::create_dir_all(&charts)?;
    let page = home.join("REPORT.md");
    let mut drawings = Vec::new();
    fs::write(&page, page_of(versions, words, &mut drawings)?)?;
    for (name, svg) in drawings {
        fs::write(charts.join(name), svg)?;
    }
    Ok(page)
}

fn page_of(versions: &str, words: &[Kept], drawings: &mut Vec<(String, String)>) -> Result<String, BoxError> {
    let mut page = String::from("# What the benches measured\n\n");
    writeln!(page, "Written by `cargo run --release -p benches -- all`; do not edit.\n")?;
    writeln!(page, "{versions}\n")?;
    claims(&mut page, words)?;
    for kept in words {
        section(&mut page, kept, drawings)?;
    }
    Ok(page)
}

fn claims(page: &mut String, words: &[Kept]) -> Result<(), BoxError> {
    let bars = || words.iter().flat_map(|kept| &kept.bars);
    let count = |verdict| bars().filter(|bar| bar.verdict() == verdict).count();
    writeln!(
        page,
        "{} claims hold, {} miss their bar, {} could not be decided.\n",
        count(Verdict::Ok),
        count(Verdict::Miss),
        count(Verdict::Void),
    )?;
    for kept in words {
        if let Some(error) = &kept.error {
            writeln!(page, "**`{}` broke off**: {error}\n", kept.word)?;
        }
    }
    writeln!(page, "| claim | measured | at most | |\n|---|--:|--:|---|")?;
    for bar in bars() {
        let Bar { name, value, limit, .. } = bar;
        let verdict = match bar.verdict() {
            Verdict::Ok => "holds",
            Verdict::Miss => "**misses**",
            Verdict::Void => "void",
        };
        writeln!(page, "| {name} | {value:.4} | {limit:.4} | {verdict} |")?;
    }
    Ok(())
}

fn section(page: &mut String, kept: &Kept, drawings: &mut Vec<(String, String)>) -> Result<(), BoxError> {
    let Kept { word, about, machine: [before, after], .. } = kept;
    writeln!(page, "\n## {word}\n\nMeasures {about}. {}, {before}; afterwards {after}.\n", kept.day())?;
    for entry in &kept.report.entries {
        match entry {
            Entry::Line(line) => writeln!(page, "{line}\n")?,
            Entry::Void(why) => writeln!(page, "**Void**: {why}\n")?,
            Entry::Table(table) => {
                rows(page, table)?;
                if let Some(svg) = chart::draw(table)? {
                    let name = format!("{word}-{}.svg", drawings.len() + 1);
                    writeln!(page, "![{}](charts/{name})\n", table.title)?;
                    drawings.push((name, svg));
                }
            }
        }
    }
    Ok(())
}

fn rows(page: &mut String, table: &Table) -> Result<(), BoxError> {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    writeln!(page, "| {} | {} |", table.title, names.join(" | "))?;
    writeln!(page, "|---|{}", "--:|".repeat(names.len()))?;
    for row in &table.rows {
        writeln!(page, "| {} | {} |", row.name, table.cells(row).join(" | "))?;
    }
    writeln!(page)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    #[test]
    fn the_page_has_every_claim_table_and_chart_and_says_what_misses() {
        let mut report = Report::default();
        report.say("9 rounds");
        report.table(Table::new("N=10").column("CPU ns", 1).row("ours", [29.44]).charted("CPU ns"));
        let bars = vec![
            Bar::at_most("pick/a", 1.0, 2.0),
            Bar::at_most("pick/b", 3.0, 2.0),
            Bar::at_most("pick/c", 3.0, 2.0).void_if(true),
        ];
        let kept = Kept {
            word: "pick".to_owned(),
            about: "a request".to_owned(),
            machine: ["2 cores".to_owned(), "2 cores".to_owned()],
            at: 0,
            report,
            bars,
            error: Some("a call failed".to_owned()),
        };
        let mut drawings = Vec::new();
        let page = page_of("tower 0.5", &[kept], &mut drawings).unwrap();
        for part in [
            "tower 0.5",
            "1 claims hold, 1 miss their bar, 1 could not be decided",
            "| pick/b | 3.0000 | 2.0000 | **misses** |",
            "**`pick` broke off**: a call failed",
            "| N=10 | CPU ns |\n|---|--:|\n| ours | 29.4 |",
            "![N=10](charts/pick-1.svg)",
            "1970-01-01",
        ] {
            assert!(page.contains(part), "{part} is missing in\n{page}");
        }
        assert_eq!(drawings.len(), 1);
    }
}

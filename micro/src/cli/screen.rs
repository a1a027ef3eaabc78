//! Replies for people: tables, upper-case headers, no borders.

use std::collections::BTreeMap;
use std::fmt::Display;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets::NOTHING};
use micro_discover::{Endpoint, Service, Shape};

use crate::command::{Changed, Checked, Done, Event, Listed, Reply, State};

/// Shows replies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) colour: bool,
}

impl Screen {
    /// The lines that show `reply`, each with its line feed. Nothing when there is nothing to show.
    pub(super) fn show(self, reply: &Reply) -> String {
        match reply {
            Reply::Services(services) => self.services(services),
            Reply::Service(records) => self.service(records),
            Reply::Changed(changed) => self.changed(changed),
            Reply::Health(checked) => self.health(checked),
            Reply::Done(done) => show_done(done),
        }
    }

    fn services(self, services: &[Listed]) -> String {
        let row = |s: &Listed| vec![text(&s.name), text(s.versions.join(",")), text(s.endpoints)];
        self.table(&["NAME", "VERSIONS", "ENDPOINTS"], services.iter().map(row))
    }

    fn service(self, records: &[Service]) -> String {
        let mut shown =
            format!("service  {}\n", records.first().map_or(String::new(), |r| printable(&r.name)));
        for record in records {
            shown += &format!("\nversion  {}\n", printable(&record.version));
            if !record.metadata.is_empty() {
                shown += &format!("metadata {}\n", labels(&record.metadata));
            }
            shown += "\n";
            shown += &self.table(
                &["ENDPOINT", "ADDRESS", "WEIGHT", "PRIORITY", "ZONE", "METADATA"],
                record.endpoints.iter().map(|e| {
                    let zone = e.zone.as_deref().unwrap_or("-");
                    let (weight, priority) = (text(e.weight), text(e.priority));
                    vec![
                        text(&e.id),
                        text(&e.address),
                        weight,
                        priority,
                        text(zone),
                        text(labels(&e.metadata)),
                    ]
                }),
            );
            if !record.methods.is_empty() {
                shown += "\n";
                shown += &self.table(
                    &["METHOD", "REQUEST", "RESPONSE", "METADATA"],
                    record.methods.iter().map(|m| {
                        let (request, response) = (shape(m.request.as_ref()), shape(m.response.as_ref()));
                        vec![text(&m.name), text(request), text(response), text(labels(&m.metadata))]
                    }),
                );
            }
        }
        shown
    }

    fn changed(self, changed: &Changed) -> String {
        let (event, colour) = match changed.event {
            Event::Added => ("added", "32"),
            Event::Changed => ("changed", "33"),
            Event::Removed => ("removed", "31"),
        };
        let event = paint(self.colour, colour, &format!("{event:<8}"));
        let Endpoint { id, address, weight, zone, priority, metadata, .. } = &changed.endpoint;
        let mut line = format!("{event} {}  {}  {address}", printable(&changed.service), printable(id));
        if *weight != 1 {
            line += &format!("  weight={weight}");
        }
        if *priority != 0 {
            line += &format!("  priority={priority}");
        }
        if let Some(zone) = zone {
            line += &format!("  zone={}", printable(zone));
        }
        if !metadata.is_empty() {
            line += &format!("  {}", labels(metadata));
        }
        line + "\n"
    }

    fn health(self, checked: &[Checked]) -> String {
        let row = |c: &Checked| {
            let (state, colour) = state(c.state);
            let state = Cell::new(state).fg(colour);
            let error = text(c.error.as_deref().unwrap_or("-"));
            let (connect, latency) = (text(millis(c.connect_ms)), text(millis(c.latency_ms)));
            vec![text(&c.id), text(&c.address), text(&c.version), state, connect, latency, error]
        };
        let header = ["ENDPOINT", "ADDRESS", "VERSION", "STATE", "CONNECT", "LATENCY", "ERROR"];
        self.table(&header, checked.iter().map(row))
    }

    fn table(self, header: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
        if self.colour {
            table.enforce_styling();
        }
        table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        table.add_rows(rows);
        if table.is_empty() {
            return String::new();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

fn show_done(done: &Done) -> String {
    let name = printable(&done.service.name);
    let line = |e: &Endpoint| format!("{} {name}  {}  {}\n", done.done, printable(&e.id), e.address);
    done.service.endpoints.iter().map(line).collect()
}

fn state(state: State) -> (&'static str, Color) {
    match state {
        State::Serving => ("serving", Color::Green),
        State::NotServing => ("not serving", Color::Red),
        State::Unknown => ("unknown", Color::Yellow),
        State::ServiceUnknown => ("service unknown", Color::Yellow),
        State::Unimplemented => ("unimplemented", Color::Yellow),
        State::Unreachable => ("unreachable", Color::Red),
        State::Timeout => ("timeout", Color::Red),
        State::Failed => ("failed", Color::Red),
    }
}

fn millis(millis: Option<f64>) -> String {
    millis.map_or("-".to_owned(), |millis| format!("{millis:.1} ms"))
}

fn shape(shape: Option<&Shape>) -> String {
    shape.map_or("-".to_owned(), |shape| shape.kind.clone())
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return "-".to_owned();
    }
    let each: Vec<_> = labels.iter().map(|(k, v)| format!("{}={}", printable(k), printable(v))).collect();
    each.join(",")
}

fn text(value: impl Display) -> Cell {
    Cell::new(printable(&value.to_string()))
}

/// What others wrote, without what could steer a terminal.
pub(super) fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().flat_map(|c| if steers(c) { c.escape_unicode().collect() } else { vec![c] }).collect()
}

/// `text` in an ANSI colour, if there are colours.
pub(super) fn paint(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_says_cannot_steer_the_terminal() {
        let endpoint = Endpoint::new("a", "h:1".parse().unwrap()).metadata("k", "\u{1b}[2Jboo\n\u{202e}x");
        let reply = Reply::Service(vec![Service::new("s").endpoint(endpoint)]);
        let shown = Screen { colour: false }.show(&reply);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
        assert!(shown.contains(r"k=\u{1b}[2Jboo\u{a}\u{202e}x"), "{shown}");
    }
}

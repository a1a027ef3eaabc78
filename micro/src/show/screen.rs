//! Replies for people: tables, upper-case headers, no borders.

use std::collections::BTreeMap;
use std::fmt::Display;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets::NOTHING};
use micro_discover::{Endpoint, Service, Shape};

use super::benched;
use super::fields;
use super::original;
use super::writer::tabs;
use crate::command::{
    Built, Changed, Checked, Created, Described, Done, Event, Finding, Heard, Listed, Log, Measured,
    Metadata, NamedContext, NodeAnswer, Outcome, Reply, Setting, State,
};
use crate::traffic::Exchange;

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
            // What JSON has no words for is shown as what it is.
            Reply::Answer(answer) => tabs(answer).unwrap_or_else(|_| format!("{:?}\n", answer.answer)),
            Reply::Nodes(nodes) => self.nodes(nodes),
            Reply::Metadata(metadata) => show_metadata(metadata),
            Reply::Described(all) => all.iter().map(show_described).collect::<Vec<_>>().join("\n"),
            Reply::Published(_) => "ok\n".to_owned(),
            Reply::Heard(heard) => show_heard(heard),
            Reply::Settings(settings) => {
                let row = |s: &Setting| {
                    vec![text(&s.key), text(s.value.as_deref().unwrap_or("-")), text(&s.origin)]
                };
                self.table(&["KEY", "VALUE", "ORIGIN"], settings.iter().map(row))
            }
            Reply::Contexts(contexts) => {
                let row = |c: &NamedContext| {
                    vec![text(if c.current { "*" } else { "" }), text(&c.name), text(labels(&c.settings))]
                };
                self.table(&["CURRENT", "NAME", "SETTINGS"], contexts.iter().map(row))
            }
            Reply::Text(text) => text.text.clone(),
            Reply::Stats(measured) => self.table(&COLUMNS, measured.iter().map(|m| self.measured(m))),
            Reply::Created(created) => show_created(created),
            Reply::Log(log) => self.log(log),
            Reply::Findings(found) => self.findings(found),
            Reply::Built(built) => self.built(built),
            Reply::Benched(benched) => {
                self.table(&benched::COLUMNS, benched::rows(benched)) + &benched::sum(benched)
            }
            Reply::Progress(_) => String::new(),
            Reply::Seen(exchange) => self.seen(exchange),
            Reply::Listening(listening) => format!("{} listens on {}\n", listening.face, listening.url),
        }
    }

    /// A row each, and below them what to try where something is wrong.
    fn findings(self, found: &[Finding]) -> String {
        let row = |one: &Finding| {
            let (word, colour) = outcome(one.outcome);
            let took = text(millis(one.took_ms));
            vec![text(one.check), text(&one.about), Cell::new(word).fg(colour), took, text(&one.said)]
        };
        let mut shown = self.table(&["CHECK", "ABOUT", "RESULT", "TIME", "FOUND"], found.iter().map(row));
        let hints = found.iter().filter_map(|one| Some((one, one.hint.as_deref()?)));
        let hints = hints.map(|(one, hint)| {
            let (_, colour) = outcome(one.outcome);
            let code = if colour == Color::Red { "31" } else { "33" };
            let about = format!("{} {}", one.check, printable(&one.about));
            format!("{} try: {}\n", paint(self.colour, code, &about), printable(hint))
        });
        let hints: String = hints.collect();
        if !hints.is_empty() {
            shown += &format!("\n{hints}");
        }
        shown
    }

    /// A line: when it ended, how, after how long, what it was, where it went, who asked.
    fn seen(self, exchange: &Exchange) -> String {
        let Exchange { from, service, endpoint, method, status, ok, millis, .. } = exchange;
        let status = paint(self.colour, if *ok { "32" } else { "31" }, &format!("{:<9}", printable(status)));
        let mut line = format!(
            "{}  {status}  {millis:>8.1} ms  {}  {}",
            exchange.time_of_day(),
            printable(service),
            printable(method)
        );
        for (name, value) in [("at", endpoint), ("from", from)] {
            if !value.is_empty() {
                line += &format!("  {name}={}", printable(value));
            }
        }
        line + "\n"
    }

    fn built(self, built: &Built) -> String {
        let commit = built.commit.unwrap_or("-");
        let lists = [&built.features, &built.registries, &built.brokers].map(|list| list.join(" "));
        let [features, registries, brokers] = lists.each_ref().map(String::as_str);
        let rows = [
            ("version", built.version),
            ("commit", commit),
            ("rustc", built.rustc),
            ("features", features),
            ("registries", registries),
            ("brokers", brokers),
        ];
        rows.map(|(name, value)| format!("{name:<12}{value}\n")).concat()
    }

    fn measured(self, measured: &Measured) -> Vec<Cell> {
        let (name, colour) = state(measured.state);
        let mut cells: Vec<_> = columns(measured).into_iter().map(text).collect();
        cells[STATE] = Cell::new(name).fg(colour);
        cells
    }

    fn log(self, log: &Log) -> String {
        let colour = match log.stream {
            "micro" => "36",
            "stderr" | "build" => "33",
            _ => "32",
        };
        let mark = if log.stream == "micro" { "*" } else { "|" };
        format!(
            "{} {}\n",
            paint(self.colour, colour, &format!("{} {mark}", printable(&log.name))),
            steady(&log.line)
        )
    }

    fn nodes(self, nodes: &[NodeAnswer]) -> String {
        let row = |n: &NodeAnswer| {
            let said = match &n.error {
                Some(error) => Cell::new(printable(error)).fg(Color::Red),
                None => {
                    let each =
                        n.answers.iter().map(|a| serde_json::to_string(a).unwrap_or_else(|e| e.to_string()));
                    text(each.collect::<Vec<_>>().join(" "))
                }
            };
            vec![text(&n.id), text(&n.address), text(millis(Some(n.latency_ms))), said]
        };
        self.table(&["ENDPOINT", "ADDRESS", "LATENCY", "ANSWER"], nodes.iter().map(row))
    }

    /// A table of texts.
    pub(super) fn plain(self, header: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
        let header: Vec<_> = header.iter().map(String::as_str).collect();
        self.table(&header, rows.map(|row| row.into_iter().map(text).collect()))
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

/// The columns of `stats` and `top`.
pub(crate) const COLUMNS: [&str; 12] = [
    "SERVICE", "ENDPOINT", "ADDRESS", "VERSION", "STATE", "REQ/S", "ERR/S", "REQUESTS", "ERRORS", "LATENCY",
    "UPTIME", "MEMORY",
];
const STATE: usize = 4;

/// An endpoint's figures, one for each of [`COLUMNS`].
pub(crate) fn columns(m: &Measured) -> [String; 12] {
    let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
    let rate = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.1}"));
    [
        m.service.clone(),
        m.id.clone(),
        m.address.clone(),
        m.version.clone(),
        state(m.state).0.to_owned(),
        rate(m.requests_per_second),
        rate(m.errors_per_second),
        number(m.requests),
        number(m.errors),
        millis(m.latency_ms),
        m.uptime_seconds.map_or("-".to_owned(), original::duration),
        m.memory_bytes.map_or("-".to_owned(), |bytes| format!("{:.1} MiB", bytes as f64 / 1048576.0)),
    ]
}

/// The original's words.
fn show_created(created: &Created) -> String {
    let line = |file: &String| format!("creating {}\n", printable(file));
    let files: String = created.files.iter().map(line).collect();
    format!("creating service {}\n{files}", printable(&created.name))
}

/// A line of a program of ours, whose colours it may keep.
fn steady(line: &str) -> String {
    let keep = |c: char| c == '\u{1b}' || c == '\t' || !c.is_control();
    line.chars().filter(|c| keep(*c)).collect()
}

fn show_metadata(metadata: &Metadata) -> String {
    let line = |(name, value): &(String, String)| {
        // Whoever asked for them may see what was sent back, but not what a terminal would do with it.
        format!("{} {}: {}\n", metadata.kind, printable(name), printable(value))
    };
    metadata.entries.iter().map(line).collect()
}

fn show_described(described: &Described) -> String {
    let mut shown = String::new();
    if described.kind == "service" {
        shown += &format!("// {}\n", described.name);
    }
    shown += &described.proto;
    if let Some(template) = &described.template {
        shown += &format!("\n{template:#}\n");
    }
    shown
}

fn show_heard(heard: &Heard) -> String {
    let body = match (&heard.body, &heard.body_base64) {
        (Some(body), _) => fields::cell(body),
        (None, Some(bytes)) => format!("base64:{bytes}"),
        (None, None) => String::new(),
    };
    format!("{}  {}\n", printable(&heard.topic), printable(&body))
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

fn outcome(outcome: Outcome) -> (&'static str, Color) {
    match outcome {
        Outcome::Ok => ("ok", Color::Green),
        Outcome::Warning => ("warning", Color::Yellow),
        Outcome::Failed => ("failed", Color::Red),
        Outcome::Skipped => ("skipped", Color::Grey),
    }
}

pub(super) fn millis(millis: Option<f64>) -> String {
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

pub(super) fn text(value: impl Display) -> Cell {
    Cell::new(printable(&value.to_string()))
}

/// What others wrote, without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().flat_map(|c| if steers(c) { c.escape_unicode().collect() } else { vec![c] }).collect()
}

/// `text` in an ANSI colour, if there are colours.
pub(crate) fn paint(colour: bool, code: &str, text: &str) -> String {
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

//! What go-micro's own `micro` wrote, byte for byte, for scripts that read it; but what others put into a record steers no
//! terminal and breaks no line.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use micro_discover::{Service, Shape};

use super::screen::printable;
use crate::command::{Checked, Measured, Reply, State};

/// The text of the replies that the original had; none for those it had not.
pub(super) fn text(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Services(services) => Some(services.iter().map(|s| format!("{}\n", s.name)).collect()),
        Reply::Service(records) => Some(service(records)),
        Reply::Health(checked) => Some(health(checked)),
        Reply::Stats(measured) => Some(stats(measured)),
        Reply::Done(_) | Reply::Published(_) => Some("ok\n".to_owned()),
        _ => None,
    }
}

fn service(records: &[Service]) -> String {
    let mut lines = vec![format!("service  {}", records.first().map_or("", |record| &record.name))];
    for record in records {
        lines.push(format!("\nversion {}", record.version));
        lines.push("\nId\tAddress\tPort\tMetadata".to_owned());
        for e in &record.endpoints {
            let address = e.address.to_string();
            let (host, port) = (e.address.host().unwrap_or(&address), e.address.port().unwrap_or(0));
            lines.push(format!("{}\t{host}\t{port}\t{}", e.id, labels(&e.metadata)));
        }
    }
    for method in records.first().map_or(&[][..], |record| &record.methods) {
        lines.push(format!("\nEndpoint: {}\nMetadata: {}\n", method.name, labels(&method.metadata)));
        let (request, response) = (outline(method.request.as_ref()), outline(method.response.as_ref()));
        lines.push(format!("Request: {request}\n\nResponse: {response}\n"));
    }
    lines.join("\n") + "\n"
}

fn health(checked: &[Checked]) -> String {
    // The name is not in the rows; whoever asked knows it.
    let mut lines = Vec::new();
    let mut version = None;
    for check in checked {
        if version != Some(&check.version) {
            version = Some(&check.version);
            if lines.is_empty() {
                lines.push(format!("service  {}", check.service));
            }
            lines.push(format!("\nversion {}", check.version));
            lines.push("\nnode\t\taddress:port\t\tstatus".to_owned());
        }
        let status = match (check.state, &check.error) {
            (State::Serving, _) => "ok".to_owned(),
            (_, Some(error)) => printable(error),
            (_, None) => "not ok".to_owned(),
        };
        lines.push(format!("{}\t\t{}\t\t{status}", check.id, check.address));
    }
    lines.join("\n") + "\n"
}

fn stats(measured: &[Measured]) -> String {
    let mut lines = Vec::new();
    let mut version = None;
    for each in measured {
        if version != Some(&each.version) {
            version = Some(&each.version);
            if lines.is_empty() {
                lines.push(format!("service  {}", each.service));
            }
            lines.push(format!("\nversion {}", each.version));
            lines.push("\nnode\t\taddress:port\t\tstarted\tuptime\tmemory\tthreads\tgc".to_owned());
        }
        let (id, address) = (&each.id, &each.address);
        let Some(seconds) = each.uptime_seconds else {
            lines.push(format!(
                "{id}\t\t{address}\t\t{}",
                printable(each.error.as_deref().unwrap_or("no stats"))
            ));
            continue;
        };
        let megabytes = each.memory_bytes.unwrap_or(0) as f64 / 1048576.0;
        let (started, uptime) = (started(each.started.unwrap_or(0)), duration(seconds));
        let (threads, gc) = (each.threads.unwrap_or(0), nanoseconds(each.gc_nanoseconds.unwrap_or(0)));
        lines.push(format!("{id}\t\t{address}\t\t{started}\t{uptime}\t{megabytes:.2}mb\t{threads}\t{gc}"));
    }
    lines.join("\n") + "\n"
}

/// As `Jan 2 15:04:05`, in UTC.
fn started(seconds: u64) -> String {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    // As `Mon, 02 Jan 2006 15:04:05 GMT`.
    let parts: Vec<_> = date.split(' ').collect();
    match parts.as_slice() {
        [_, day, month, _, time, _] => format!("{month} {} {time}", day.trim_start_matches('0')),
        _ => date,
    }
}

/// As Go writes whole seconds: `1h2m3s`.
pub(super) fn duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// As Go writes nanoseconds: `1.5ms`, `250µs`.
fn nanoseconds(nanoseconds: u64) -> String {
    match nanoseconds {
        0 => "0s".to_owned(),
        n if n < 1_000 => format!("{n}ns"),
        n if n < 1_000_000 => format!("{}µs", n as f64 / 1e3),
        n if n < 1_000_000_000 => format!("{}ms", n as f64 / 1e6),
        n if n < 60_000_000_000 => format!("{}s", n as f64 / 1e9),
        n => duration(n / 1_000_000_000),
    }
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(k, v)| format!("{}={}", printable(k), printable(v))).collect::<Vec<_>>().join(",")
}

fn outline(shape: Option<&Shape>) -> String {
    match shape {
        Some(shape) if !shape.values.is_empty() => {
            format!("{{\n{}}}", shape.values.iter().map(|value| field(value, 1)).collect::<String>())
        }
        _ => "{}".to_owned(),
    }
}

/// A tab for each level; a field that has fields holds them in braces.
fn field(shape: &Shape, deep: usize) -> String {
    let (tabs, name) = ("\t".repeat(deep), snake(&shape.name));
    if shape.values.is_empty() {
        return format!("{tabs}{name} {}\n", shape.kind);
    }
    let inner: String = shape.values.iter().map(|value| field(value, deep + 1)).collect();
    format!("{tabs}{name} {} {{\n{inner}{tabs}}}\n", shape.kind)
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut before_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && before_lower {
            snake.push('_');
        }
        before_lower = c.is_lowercase() || c.is_ascii_digit();
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use micro_discover::{Endpoint, Method};

    use super::*;

    #[test]
    fn what_others_wrote_steers_no_terminal_and_breaks_no_line() {
        let address = "127.0.0.1:80".parse().unwrap();
        let endpoint = Endpoint::new("greeter-1", address).metadata("a", "\u{1b}[2Jx\ny\u{9b}");
        let written = text(&Reply::Service(vec![Service::new("greeter").endpoint(endpoint)])).unwrap();
        assert!(written.ends_with("greeter-1\t127.0.0.1\t80\ta=\\u{1b}[2Jx\\u{a}y\\u{9b}\n"), "{written:?}");
    }

    #[test]
    fn figures_are_written_as_go_writes_them() {
        let measured = Measured {
            service: "greeter".into(),
            version: "1.0.0".into(),
            id: "greeter-1".into(),
            address: "127.0.0.1:80".into(),
            started: Some(1_136_214_245),
            uptime_seconds: Some(3723),
            memory_bytes: Some(3 << 19),
            threads: Some(7),
            gc_nanoseconds: Some(1_500_000),
            ..Measured::default()
        };
        let expected = "service  greeter\n\nversion 1.0.0\n\n\
            node\t\taddress:port\t\tstarted\tuptime\tmemory\tthreads\tgc\n\
            greeter-1\t\t127.0.0.1:80\t\tJan 2 15:04:05\t1h2m3s\t1.50mb\t7\t1.5ms\n";
        assert_eq!(text(&Reply::Stats(vec![measured])).unwrap(), expected);
    }

    #[test]
    fn a_service_is_shown_as_the_original_showed_it() {
        let request = Shape::new("Req", "Req")
            .value(Shape::new("firstName", "string"))
            .value(Shape::new("inner", "Inner").value(Shape::new("n", "int64")));
        let method = Method::new("Greeter.Hello").request(request).metadata("stream", "false");
        let endpoint = Endpoint::new("greeter-1", "127.0.0.1:46243".parse().unwrap());
        let record = Service::new("greeter")
            .version("1.0.0")
            .method(method)
            .endpoint(endpoint.metadata("broker", "http").metadata("server", "rpc"));
        let expected = "service  greeter\n\nversion 1.0.0\n\nId\tAddress\tPort\tMetadata\n\
            greeter-1\t127.0.0.1\t46243\tbroker=http,server=rpc\n\nEndpoint: Greeter.Hello\nMetadata: stream=false\n\n\
            Request: {\n\tfirst_name string\n\tinner Inner {\n\t\tn int64\n\t}\n}\n\nResponse: {}\n\n";
        assert_eq!(text(&Reply::Service(vec![record])).unwrap(), expected);
    }
}

//! Calls a method with what a form says, and shows its answers as they come.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::Form;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use maud::{Markup, html};
use micro_balance::SentTo;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::layout::{Tab, layout};
use super::lines::lines;
use crate::call::{Call, Target, documents};
use crate::causes::chain;
use crate::schema::{Json, Schema};
use crate::traffic::Exchange;
use crate::web::form::{self, Field};
use crate::web::view::View;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::web) struct Chosen {
    service: String,
    method: String,
}

/// How long a service may take to say what it can be asked, before the page is shown without.
const REFLECT_WITHIN: Duration = Duration::from_secs(2);

/// `GET /call[?service=NAME&method=NAME]`.
pub(in crate::web) async fn get(State(view): State<View>, Query(chosen): Query<Chosen>) -> Markup {
    let services = view.catalog.services();
    let known = services.contains_key(&chosen.service);
    let schema = if known { reflected(&view, &chosen.service).await } else { None };
    let methods = methods(&view, &chosen.service, schema.as_ref());
    let fields = fields(&view, &chosen, schema.as_ref());
    let body = html! {
        form .row method="get" action="/call" {
            label { "Service"
                select name="service" data-submit="" {
                    option value="" { "Choose one" }
                    @for name in services.keys() { option value=(name) selected[*name == chosen.service] { (name) } }
                }
            }
            label { "Method"
                select name="method" data-submit="" {
                    option value="" { "Choose one" }
                    @for name in &methods { option value=(name) selected[*name == chosen.method] { (name) } }
                }
            }
            button .plain type="submit" { "Show" }
        }
        @if known && schema.is_none() {
            p .quiet { "The service does not say by gRPC reflection what it takes; what its record says is shown." }
        }
        @if view.read_only { p .warn { "This dashboard is read-only: nothing can be called." } }
        @else { (request(&view, &chosen, fields.as_deref())) }
    };
    layout(&view, Tab::Call, "Call a method", &body)
}

fn request(view: &View, chosen: &Chosen, fields: Option<&[Field]>) -> Markup {
    let records = view.catalog.service(&chosen.service);
    html! {
        @if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
            h2 { "Fields" }
            form .fields data-shape="" { (form::inputs(fields)) }
        }
        h2 { "Request" }
        form .fields method="post" action="/call" data-stream="answer" {
            @if chosen.method.is_empty() {
                label { "Service or address" input name="service" required value=(chosen.service); }
                label { "Method" input name="method" required placeholder="greeter.Greeter/Hello"; }
            } @else {
                input type="hidden" name="service" value=(chosen.service);
                input type="hidden" name="method" value=(chosen.method);
            }
            label { "JSON " span .quiet { "several documents are a stream" }
                textarea name="request" spellcheck="false" { "{}" }
            }
            label { "Endpoint"
                select name="endpoint" {
                    option value="" { "any: as balanced" }
                    @for endpoint in records.iter().flat_map(|record| &record.endpoints) { option { (endpoint.id) } }
                }
            }
            label { "Headers " span .quiet { "one a line, as name: value" } textarea name="headers" spellcheck="false" {} }
            label { "Seconds it may take" input name="seconds" type="number" min="1" max="3600" value="30"; }
            div .row {
                button type="submit" { "Call" }
                button .plain type="button" data-stop="" disabled { "Stop" }
            }
        }
        h2 #answer-title { "Answer" }
        pre #answer role="log" aria-labelledby="answer-title" aria-live="polite" tabindex="0" {}
    }
}

async fn reflected(view: &View, service: &str) -> Option<Schema> {
    let target = Target::Service(service.to_owned());
    timeout(REFLECT_WITHIN, view.caller.reflected(&target, None)).await.ok()?.ok()
}

/// What the service can be asked: by its own word, and by its records.
fn methods(view: &View, service: &str, schema: Option<&Schema>) -> Vec<String> {
    let records = view.catalog.service(service);
    let announced = records.iter().flat_map(|record| &record.methods).map(|method| method.name.clone());
    let services = schema.map(Schema::services).unwrap_or_default().iter();
    let reflected: Vec<_> = services
        .flat_map(|service| service.methods())
        .map(|method| format!("{}/{}", method.parent_service().full_name(), method.name()))
        .collect();
    // One that both know is shown by its full name.
    let short: BTreeSet<_> = reflected.iter().map(|name| short(name)).collect();
    announced.filter(|name| !short.contains(name.as_str())).chain(reflected).collect()
}

/// `greeter.Greeter/Hello` as go-micro writes it: `Greeter.Hello`.
fn short(full: &str) -> String {
    let (service, method) = full.split_once('/').unwrap_or(("", full));
    format!("{}.{method}", service.rsplit('.').next().unwrap_or_default())
}

fn fields(view: &View, chosen: &Chosen, schema: Option<&Schema>) -> Option<Vec<Field>> {
    if let Some(method) = schema.and_then(|schema| schema.method(&chosen.method).ok()) {
        return Some(form::of_message(&method.input()));
    }
    let records = view.catalog.service(&chosen.service);
    let method =
        records.iter().flat_map(|record| &record.methods).find(|method| method.name == chosen.method)?;
    method.request.as_ref().map(form::of_shape)
}

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Asked {
    service: String,
    method: String,
    #[serde(default)]
    request: String,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    headers: String,
    #[serde(default)]
    seconds: String,
}

/// `POST /call`: the answers as text, a JSON document each, as they come.
pub(in crate::web) async fn post(State(view): State<View>, Form(asked): Form<Asked>) -> Response {
    if view.read_only {
        return (StatusCode::FORBIDDEN, "this dashboard is read-only\n").into_response();
    }
    let Ok(target) = asked.service.parse::<Target>();
    let registered = matches!(&target, Target::Service(name) if !view.catalog.service(name).is_empty());
    if !registered {
        let why = format!("no service {:?} is registered\n", asked.service);
        return (StatusCode::NOT_FOUND, why).into_response();
    }
    let headers = match headers(&asked.headers) {
        Ok(headers) => headers,
        Err(line) => return (StatusCode::BAD_REQUEST, format!("not a header: {line:?}\n")).into_response(),
    };
    let seconds = asked.seconds.parse().unwrap_or(30).clamp(1, 3600);
    let mut call = Call::new(target, &asked.method).headers(headers).timeout(Duration::from_secs(seconds));
    if !asked.endpoint.is_empty() {
        call = call.endpoint(&asked.endpoint);
    }
    let sent_to = SentTo::default();
    call = call.sent_to(sent_to.clone());
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(answer(view, call, asked, sent_to, sender));
    lines(receiver)
}

/// Calls, until the call is over or nobody reads any more.
async fn answer(view: View, call: Call, asked: Asked, sent_to: SentTo, lines: mpsc::Sender<String>) {
    let began = Instant::now();
    let done = tokio::select! {
        done = run(&view, call, &asked, &lines) => done,
        () = lines.closed() => Err("CANCELLED"),
    };
    let status = done.err().unwrap_or("OK");
    let mut exchange = Exchange::new(&asked.service, &asked.method, status, status == "OK");
    exchange.millis = began.elapsed().as_secs_f64() * 1000.0;
    let endpoint = sent_to.id().map_or(asked.endpoint, |id| id.to_string());
    (exchange.from, exchange.endpoint) = ("micro web".to_owned(), endpoint);
    exchange.ended_now();
    view.traffic.record(exchange);
}

async fn run(
    view: &View,
    call: Call,
    asked: &Asked,
    lines: &mpsc::Sender<String>,
) -> Result<(), &'static str> {
    let empty = asked.request.trim().is_empty();
    let request = documents(if empty { "{}" } else { &asked.request });
    let failed =
        |error: crate::call::Error| (crate::codes::name(error.code()), format!("{}\n", chain(&error)));
    let mut answers = match view.caller.call(call, request).await.map_err(failed) {
        Ok(answers) => answers,
        Err((code, text)) => {
            lines.send(text).await.ok();
            return Err(code);
        }
    };
    while let Some(answer) = answers.next().await {
        let (code, text) = match answer {
            Ok(answer) => {
                (None, pretty(&answer.json(&Json::new()).unwrap_or_else(|error| error.to_string())))
            }
            Err(error) => {
                let (code, text) = failed(error);
                (Some(code), text)
            }
        };
        lines.send(text).await.ok();
        if let Some(code) = code {
            return Err(code);
        }
    }
    Ok(())
}

fn pretty(json: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(json).ok();
    let text = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    text.unwrap_or_else(|| json.to_owned()) + "\n"
}

/// Headers, one a line; what is wrong is the line that is none.
fn headers(text: &str) -> Result<HeaderMap, &str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or(line)?;
            let name: HeaderName = name.trim().parse().map_err(|_| line)?;
            Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| line)?))
        })
        .collect()
}

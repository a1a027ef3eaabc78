//! A terminal that runs the toolkit's commands.

use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::layout::{Tab, layout};
use super::lines::lines;
use crate::guest::{self, May};
use crate::web::view::View;

/// `GET /cli`.
pub(in crate::web) async fn get(State(view): State<View>) -> Markup {
    let body = html! {
        p { "Commands are those of the command line, such as " code { "list" } ", " code { "get greeter" } ", "
            code { "health greeter" } ", " code { "help" } "." }
        @if view.read_only { p .warn { "This dashboard is read-only: commands that change something are refused." } }
        h2 #output-title { "Output" }
        pre #output role="log" aria-labelledby="output-title" aria-live="polite" tabindex="0" {}
        form .row method="post" action="/cli" data-stream="output" data-keep="yes" {
            label { "Command" input .mono name="line" required autocomplete="off" autocapitalize="off" spellcheck="false"; }
            button type="submit" { "Run" }
            button .plain type="button" data-stop="" disabled { "Stop" }
        }
    };
    layout(&view, Tab::Terminal, "Terminal", &body)
}

#[derive(Debug, Deserialize)]
pub(in crate::web) struct Typed {
    line: String,
}

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// `POST /cli`: what the command writes, as it does.
pub(in crate::web) async fn post(State(view): State<View>, Form(typed): Form<Typed>) -> Response {
    let may = if view.read_only { May::Read } else { May::Change };
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        // A page that is left ends its command.
        let done = tokio::select! {
            done = guest::run(&typed.line, &view.context, may, LIMIT, &sender) => done,
            () = sender.closed() => return,
        };
        if let Err(failure) = done {
            // The page may have been left.
            let _ = sender.send(format!("{}\n", guest::told(&failure))).await;
        }
    });
    lines(receiver)
}

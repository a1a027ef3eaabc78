//! The page that asks who you are.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::{Extensions, HeaderMap, StatusCode, header};
use maud::html;
use serde::Deserialize;

use super::layout::{Tab, layout};
use crate::proxy::Peer;
use crate::web::login::Refused;
use crate::web::view::View;

#[derive(Deserialize)]
pub(in crate::web) struct Given {
    secret: String,
}

/// `GET /login`.
pub(in crate::web) async fn get(State(view): State<View>) -> Response {
    match view.login {
        Some(_) => page(&view, None),
        None => Redirect::to("/").into_response(),
    }
}

/// `POST /login`.
pub(in crate::web) async fn post(
    State(view): State<View>,
    headers: HeaderMap,
    extensions: Extensions,
    Form(given): Form<Given>,
) -> Response {
    let Some(login) = &view.login else { return Redirect::to("/").into_response() };
    let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let address = Peer::of(&extensions).address.map(|address| address.ip());
    match login.log_in(&given.secret, address, secure).await {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        Err(Refused::Wrong) => {
            (StatusCode::UNAUTHORIZED, page(&view, Some("That is not it."))).into_response()
        }
        Err(Refused::Busy) => {
            let why = "Too many log in at this moment: try again in a few seconds.";
            (StatusCode::SERVICE_UNAVAILABLE, page(&view, Some(why))).into_response()
        }
    }
}

/// `POST /logout`.
pub(in crate::web) async fn log_out(State(view): State<View>, headers: HeaderMap) -> Response {
    let cookie = view.login.as_ref().map(|login| login.log_out(&headers));
    (cookie.map(|cookie| [(header::SET_COOKIE, cookie)]), Redirect::to("/login")).into_response()
}

fn page(view: &View, wrong: Option<&str>) -> Response {
    let body = html! {
        form .fields method="post" action="/login" {
            @if let Some(wrong) = wrong { p .bad role="alert" { (wrong) } }
            label { "Token or password"
                input type="password" name="secret" autocomplete="current-password" required autofocus;
            }
            div { button type="submit" { "Log in" } }
        }
    };
    layout(view, Tab::None, "Log in", &body).into_response()
}

//! The sidecar: all that a program needs of the toolkit, over HTTP on its own machine, in whatever language it is written.
//!
//! A [`Sidecar`] is a router of axum to be mounted in an application; `micro sidecar` serves it.
//!
//! | request | answer |
//! |---|---|
//! | `GET /registry` | every service, as go-micro writes records; `?service=x` its versions, or 404 |
//! | `GET /registry?service=x&watch` | the same as events, now and whenever it changes; without a service, all of them |
//! | `GET /registry?service=x`, as a WebSocket | what changes, as go-micro's watchers say it: `{"Action":"create","Service":{…}}`, for all that is there at first |
//! | `POST /registry` | announces a record, and renews it until it is withdrawn or the sidecar ends; with `?ttl=10s` once, for so long |
//! | `DELETE /registry` | withdraws a record |
//! | `POST /rpc` | calls a method, see [`rpc`](crate::rpc) |
//! | `POST /greeter/say/hello` | calls `Say.Hello` of `greeter`; as a WebSocket, a message each way for each of a stream |
//! | any, `/greeter/…` | goes to a service that speaks HTTP, WebSockets and gRPC included |
//! | `POST /broker?topic=t` | publishes an event |
//! | `GET /broker?topic=t&queue=q` | the events of a topic, as a WebSocket that publishes what it is sent, or as `text/event-stream` |
//! | `GET /health` | whether the program beside the sidecar is well |
//! | `GET /openapi.json` | all of this for programs |
//!
//! Methods that are not named are 405. A page of another host is turned away, and with [`Builder::token`] whoever does not
//! bring the token.

mod record;

mod check;

mod app;
mod held;

mod guard;

mod state;

mod calls;
mod events;
mod health;
mod openapi;
mod registry;
mod results;
mod socket;
mod watching;

mod settings;

pub use app::{App, InvalidApp};
pub use check::{Check, InvalidCheck};
pub use settings::{Builder, Sidecar};

//! The dashboard as a router: which path shows what.

use std::fmt;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};

use super::page::{call, events, login, registry, service, services, tap, terminal, topology};
use super::pass::{pass, pass_there};
use super::settings::Builder;
use super::view::View;
use super::{assets, counted, guard, rpc, streams};
use crate::command::Context;

/// A dashboard of a registry's services. Clones share everything.
///
/// ```
/// use micro::command::Context;
/// use micro::web::Web;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), micro::command::Failure> {
/// let web = Web::builder(Context::open("memory:")?).read_only(true).build();
/// let own = axum::Router::new().route("/orders", axum::routing::get(|| async { "7 apples" }));
/// let app: axum::Router = own.fallback_service(web.router());
/// # drop(app);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Web {
    view: View,
}

impl Web {
    /// A dashboard of the services in the registry of `context`.
    pub fn builder(context: Context) -> Builder {
        Builder::new(context)
    }

    pub(super) fn new(view: View) -> Self {
        Self { view }
    }

    /// The web apps below their names, for the origin that [`Builder::apps_at`] names.
    pub fn apps_router(&self) -> Router {
        let view = self.view.clone();
        Router::new()
            .route("/favicon.ico", get(assets::own_icon))
            .fallback(pass_there)
            .layer(from_fn_with_state(view.clone(), guard::guard_apps))
            .with_state(view)
    }

    /// The pages, which name each other from the root: beside an application's own routes they are its fallback. Web apps
    /// are below their names as well, but browsers are sent on to the apps' own origin for pages.
    pub fn router(&self) -> Router {
        let limit = from_fn_with_state(self.view.clone(), streams::limit);
        let follow = Router::new()
            .route("/events/stream", get(events::stream))
            .route("/tap/stream", get(tap::stream))
            .route("/live/services", get(services::live))
            .route("/live/services/{name}", get(service::live))
            .route("/live/topology", get(topology::live))
            .route("/live/registry", get(registry::live))
            .route("/call", post(call::post))
            .route("/cli", post(terminal::post))
            .route_layer(limit);
        let pages = Router::new()
            .route("/", get(services::get))
            .route("/services", get(services::get))
            .route("/services/{name}", get(service::get))
            .route("/topology", get(topology::get))
            .route("/call", get(call::get))
            .route("/query", get(call::get))
            .route("/events", get(events::get).post(events::post))
            .route("/tap", get(tap::get))
            .route("/registry", get(registry::get))
            .route("/cli", get(terminal::get))
            .route("/rpc", any(rpc::call))
            .route("/stats", get(counted::get))
            .route("/login", get(login::get).post(login::post))
            .route("/logout", post(login::log_out))
            .route("/favicon.ico", get(assets::icon))
            .route("/assets/{stamp}/{name}", get(assets::get))
            .merge(follow)
            .layer(from_fn(guard::policy));
        pages
            .fallback(pass)
            .layer(from_fn_with_state(self.view.clone(), guard::guard))
            .layer(from_fn_with_state(self.view.clone(), counted::count))
            .with_state(self.view.clone())
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("view", &self.view).finish()
    }
}

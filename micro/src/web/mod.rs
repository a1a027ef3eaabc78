//! The dashboard, and a reverse proxy for web apps.
//!
//! [`Web::router`] is an axum router to be served or mounted; `micro web` serves it. Pages are whole without a script;
//! a small one keeps them up to date. Everything they need is in the binary.
//!
//! | path | shows |
//! |---|---|
//! | `/` | every service with its rates, errors and latencies; the web apps |
//! | `/services/{name}` | endpoints with their figures, versions, methods with their shapes |
//! | `/topology` | who calls whom |
//! | `/call` | a form made from a method's shape; answers as they come |
//! | `/events` | publishes, and follows a topic |
//! | `/tap` | requests as they end |
//! | `/registry` | the records, for programs as JSON |
//! | `/cli` | a terminal that runs the toolkit's commands |
//! | `/rpc` | calls for programs, as at the gateway |
//! | `/{app}/…` | the web app registered as `go.micro.web.{app}`, WebSockets included |
//!
//! Pages that are followed, as those that a browser keeps up to date, are 256 at most, and 128 of one address.
//!
//! Without a [`Login`] only requests to names of this machine are answered, so that no page elsewhere can reach the
//! dashboard by a name of its own; requests that change something come from its own pages only. The pages of web apps have
//! [an origin of their own](Builder::apps_at): they cannot use the dashboard in its user's name.

mod live;

mod login;

mod apps;
mod counted;
mod polls;
mod view;

mod assets;
mod form;
mod guard;
mod streams;

mod page;
mod pass;
mod rpc;

mod router;
mod settings;

pub use login::{InvalidHash, Login};
pub use router::Web;
pub use settings::Builder;

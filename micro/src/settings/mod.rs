//! Where settings come from: the command line, the environment, a context, files, and what is usual.
//!
//! | first | then | then | then | then | last |
//! |---|---|---|---|---|---|
//! | a flag | `MICRO_*` | the context in use | `./micro.toml` | `micro.toml`'s like in the user's directory | the default |
//!
//! The user's directory is `$XDG_CONFIG_HOME/micro`, or `~/.config/micro`; its file is `config.toml`, and
//! `contexts/NAME.toml` are its contexts. Files hold keys at their top, as `registry = "etcd://127.0.0.1:2379"`;
//! tables in them belong to the faces: `[api]`.

mod contexts;
mod file;
mod key;
mod resolve;

pub use contexts::Contexts;
pub use file::Layer;
pub use key::{KEYS, Key};
pub use resolve::{Given, Origin, Settings};

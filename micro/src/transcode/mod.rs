//! JSON over HTTP for gRPC methods, by their descriptors alone: what `google.api.http` says, or `POST` of the whole message.
//!
//! A [`Routes`] says which method a request means, and [`transcode`] carries it out: path, query and body become the
//! message, the answer becomes JSON. Several answers become lines of `{"result": …}`, server-sent events where the client
//! accepts those, or a JSON array where it accepts nothing but `application/json`; an error among them is the last of them.
//! Several `google.api.HttpBody` are their bytes, one behind the other, as what the first says they are. A method that
//! takes several messages gets those of a body of lines (`application/x-ndjson`), each as it comes, or of an array. Errors
//! are `{"code", "status", "message", "details"}` with the HTTP status that grpc-gateway gives them.
//!
//! Who sends protobuf gets protobuf back, of the same type, where the method has one answer and the client does not accept
//! JSON.
//!
//! JSON is read as strictly as ProtoJSON says, and written so that it can be read back to the bit.

mod template;

mod rule;

mod fields;

mod status;

mod route;

mod input;
mod output;

mod documents;
mod raw;
mod stream;

mod call;

pub(crate) use call::metadata;
pub use call::{Transcoding, transcode};
pub use fields::InvalidField;
pub(crate) use fields::pairs;
pub use input::InvalidInput;
pub use route::{Found, Routes};
pub use status::{Problem, http_status};
pub use template::InvalidTemplate;

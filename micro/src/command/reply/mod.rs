//! What commands answer: plain data, which each face shows in its way.

mod answer;
mod benched;
mod finding;
mod measured;
mod own;
mod record;

use micro_discover::Service;
use serde::Serialize;

pub use self::answer::{Answered, Described, Heard, Metadata, NodeAnswer, Published};
pub use self::benched::{Benched, BenchedEndpoint, Latency};
pub use self::finding::{Finding, Outcome};
pub use self::measured::Measured;
pub use self::own::{Built, Created, Listening, Log, NamedContext, Progress, Setting, Text};
pub use self::record::{Changed, Checked, Done, Event, Listed, State};
use crate::traffic::Exchange;

/// One answer of a command. As JSON or YAML it is the data alone, without a tag.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Reply {
    /// The services there are, by name.
    Services(Vec<Listed>),
    /// One service: a record per version.
    Service(Vec<Service>),
    /// An endpoint came, changed or went.
    Changed(Changed),
    /// How each endpoint is.
    Health(Vec<Checked>),
    /// Something was done to a record.
    Done(Done),
    /// A service answered.
    Answer(Answered),
    /// How each endpoint of a service answered.
    Nodes(Vec<NodeAnswer>),
    /// What came beside an answer.
    Metadata(Metadata),
    /// What services can be asked, and by which messages.
    Described(Vec<Described>),
    /// An event was published.
    Published(Published),
    /// An event was heard.
    Heard(Heard),
    /// The settings in force.
    Settings(Vec<Setting>),
    /// The contexts there are.
    Contexts(Vec<NamedContext>),
    /// A text that is what was asked for, such as a script.
    Text(Text),
    /// What endpoints say of themselves.
    Stats(Vec<Measured>),
    /// A service was written.
    Created(Created),
    /// A service that is run wrote a line, or something happened to it.
    Log(Log),
    /// A request passed through a gateway or a sidecar.
    Seen(Exchange),
    /// What this program was built of.
    Built(Built),
    /// What was found out about this machine.
    Findings(Vec<Finding>),
    /// What came of many calls.
    Benched(Benched),
    /// How far a command is, for whoever waits at a terminal. It is no answer, and in none.
    Progress(Progress),
    /// A face listens.
    Listening(Listening),
}

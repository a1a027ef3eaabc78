//! What inputs hear, and what an input is.

use std::fmt::Debug;

use futures_core::future::BoxFuture;
use tokio::sync::mpsc;
use tower::BoxError;

use super::answer::Answer;

/// Who said something, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Speaker {
    /// The input, such as `slack`.
    pub input: &'static str,
    /// The user, as the input names them for good: not a nickname that anybody may take.
    pub user: String,
    /// The room; none where they speak with the bot alone.
    pub room: Option<String>,
}

impl Speaker {
    /// `user`, heard by `input` in `room`.
    pub fn new(input: &'static str, user: impl Into<String>, room: Option<String>) -> Self {
        Self { input, user: user.into(), room }
    }
}

/// Something that was said to the bot.
#[derive(Debug)]
#[non_exhaustive]
pub struct Heard {
    /// Names the message within its input: one that comes again is answered once.
    pub id: String,
    /// Who said it.
    pub speaker: Speaker,
    /// What was said, without the bot's name before it.
    pub text: String,
    /// Where the answer goes.
    pub answers: mpsc::Sender<Answer>,
}

impl Heard {
    /// Something that was said, and where its answer comes out.
    pub fn new(
        id: impl Into<String>,
        speaker: Speaker,
        text: impl Into<String>,
    ) -> (Self, mpsc::Receiver<Answer>) {
        let (answers, receiver) = mpsc::channel(4);
        (Self { id: id.into(), speaker, text: text.into(), answers }, receiver)
    }
}

/// Where a bot listens.
pub trait Input: Debug + Send + Sync + 'static {
    /// What it is called, such as `slack`.
    fn name(&self) -> &'static str;

    /// Connects, and gives what is heard to `heard` until the connection ends. The bot begins again after a while,
    /// longer each time it fails at once.
    fn run(&self, heard: mpsc::Sender<Heard>) -> BoxFuture<'_, Result<(), BoxError>>;

    /// Whether the end of this input is the end of the bot, as with a terminal.
    fn ends_bot(&self) -> bool {
        false
    }
}

//! XMPP, alone and in rooms.
//!
//! Whoever writes to the bot is known by the address that their server vouches for. In a room that hides its members'
//! addresses they are known by the room and their nickname, which anybody may take: give rights to such with care.

mod line;
mod talk;

use std::fmt;
use std::time::Duration;

use futures_core::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_xmpp::Stanza;
use tokio_xmpp::connect::{DirectTlsServerConnector, DnsConfig, StartTlsServerConnector, TcpServerConnector};
use tower::BoxError;
use xmpp_parsers::iq::Iq;
use xmpp_parsers::jid::{BareJid, ResourcePart};
use xmpp_parsers::message::{Id, Lang, Message, MessageType};
use xmpp_parsers::muc::Muc;
use xmpp_parsers::muc::muc::History;
use xmpp_parsers::ping::Ping;
use xmpp_parsers::presence::{Presence, Type};

use self::line::Line;
use self::talk::{Said, Talk};
use super::answer::Answer;
use super::heard::{Heard, Input, Speaker};
use super::lost::Lost;

/// A message has no more bytes than this; a longer answer is several.
const LONGEST: usize = 4000;
/// An answer has no more messages than this.
const MESSAGES: usize = 10;
/// Answers that are being waited for.
const REPLIES: usize = 256;
/// How long the server may take to let the bot in.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// How the connection to the server is kept from others' eyes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// TLS, asked for on the usual port; nothing is said without it.
    #[default]
    StartTls,
    /// TLS from the first byte.
    DirectTls,
    /// None: for a server on this machine.
    Plain,
}

/// An account at an XMPP server.
pub struct Xmpp {
    jid: BareJid,
    password: String,
    server: Option<String>,
    security: Security,
    rooms: Vec<BareJid>,
    nick: String,
}

/// The text is no XMPP address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no XMPP address, such as bot@example.org")]
pub struct InvalidJid(String);

impl Xmpp {
    /// The account `jid`, such as `bot@example.org`.
    ///
    /// # Errors
    ///
    /// [`InvalidJid`].
    pub fn new(jid: &str, password: impl Into<String>) -> Result<Self, InvalidJid> {
        let jid = address(jid)?;
        let nick = jid.node().map_or_else(|| "micro".to_owned(), ToString::to_string);
        let security = Security::default();
        Ok(Self { jid, password: password.into(), server: None, security, rooms: Vec::new(), nick })
    }

    /// Connects to `server`, as `host:port`, instead of asking DNS for it.
    #[must_use]
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// How the connection is secured.
    #[must_use]
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Enters the room `jid`, such as `ops@conference.example.org`, and answers there who names it first.
    ///
    /// # Errors
    ///
    /// [`InvalidJid`].
    pub fn room(mut self, jid: &str) -> Result<Self, InvalidJid> {
        self.rooms.push(address(jid)?);
        Ok(self)
    }

    /// What it is called in rooms; the account's own name unless set.
    #[must_use]
    pub fn nick(mut self, nick: impl Into<String>) -> Self {
        self.nick = nick.into();
        self
    }

    async fn connect(&self) -> Result<Line, BoxError> {
        let domain = self.jid.domain().as_str();
        let given = self.server.as_deref().map(DnsConfig::addr);
        let usual = || DnsConfig::srv_default_client(domain);
        match self.security {
            Security::StartTls => {
                let server = StartTlsServerConnector::from(given.unwrap_or_else(usual));
                Line::connect(&server, &self.jid, &self.password).await
            }
            Security::DirectTls => {
                let server = given.unwrap_or_else(|| DnsConfig::srv_xmpps(domain));
                Line::connect(&DirectTlsServerConnector::from(server), &self.jid, &self.password).await
            }
            Security::Plain => {
                let server = TcpServerConnector::from(given.unwrap_or_else(usual));
                Line::connect(&server, &self.jid, &self.password).await
            }
        }
    }

    async fn listen(&self, heard: mpsc::Sender<Heard>) -> Result<(), BoxError> {
        let late = |_| format!("the server does not let the bot in within {CONNECT_WITHIN:?}");
        let mut line = timeout(CONNECT_WITHIN, self.connect()).await.map_err(late)??;
        self.enter(&mut line).await?;
        let mut talk = Talk::new(&self.jid, &self.nick);
        let (sender, mut answers) = mpsc::channel(16);
        let (mut replies, lost) = (JoinSet::new(), Lost::new("xmpp"));
        loop {
            tokio::select! {
                next = line.next() => match next? {
                    Some(stanza) => {
                        let (answer, said) = talk.take(stanza);
                        if let Some(answer) = answer {
                            line.send(&answer).await?;
                        }
                        match said {
                            Some(_) if replies.len() >= REPLIES => lost.one(),
                            Some(said) => {
                                lost.room();
                                replies.spawn(reply(said, heard.clone(), sender.clone()));
                            }
                            None => {}
                        }
                    }
                    None => line.send(&Iq::from_get("are you there", Ping).into()).await?,
                },
                Some(message) = answers.recv() => line.send(&Stanza::Message(message)).await?,
                Some(_) = replies.join_next() => {}
                () = heard.closed() => {
                    line.end().await;
                    return Ok(());
                }
            }
        }
    }

    /// Says that the bot is there, to everybody and in its rooms.
    async fn enter(&self, line: &mut Line) -> Result<(), BoxError> {
        line.send(&Presence::available().into()).await?;
        for room in &self.rooms {
            let nick = ResourcePart::new(&self.nick)?;
            // What was said before is not for the bot.
            let muc = Muc::new().with_history(History::new().with_maxstanzas(0));
            let here = Presence::new(Type::None).with_to(room.with_resource(&nick)).with_payload(muc);
            line.send(&here.into()).await?;
        }
        Ok(())
    }
}

/// Gives `said` to `heard`, and makes messages of the answers.
async fn reply(said: Said, heard: mpsc::Sender<Heard>, out: mpsc::Sender<Message>) {
    let Said { id, user, room, to, nick, text } = said;
    let (message, mut answers) = Heard::new(id, Speaker::new("xmpp", user, room.clone()), text);
    if heard.send(message).await.is_err() {
        return;
    }
    while let Some(answer) = answers.recv().await {
        for (index, part) in parts(&answer).into_iter().enumerate() {
            let (kind, to, body) = match &nick {
                Some(nick) if index == 0 => (MessageType::Groupchat, to.clone(), format!("{nick}: {part}")),
                Some(_) => (MessageType::Groupchat, to.clone(), part),
                None => (MessageType::Chat, to.clone(), part),
            };
            let mut message = Message::new_with_type(kind, Some(to)).with_body(Lang::default(), body);
            message.id = Some(Id(format!("{:032x}", fastrand::u128(..))));
            if out.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// An answer as messages that are not too long.
fn parts(answer: &Answer) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in answer.whole.as_ref().unwrap_or(&answer.text).lines() {
        for piece in pieces(line) {
            let last = parts.last().map_or(0, String::len);
            if last + piece.len() > LONGEST {
                parts.push(String::new());
            }
            if let Some(part) = parts.last_mut() {
                part.push_str(piece);
                part.push('\n');
            }
        }
    }
    if parts.len() > MESSAGES {
        parts.truncate(MESSAGES);
        parts.push("… the rest is too long to be shown here".to_owned());
    }
    // XML has no words for most control characters.
    let printable = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    parts.iter().map(|part| part.trim_end().chars().filter(printable).collect()).collect()
}

/// A line cut where it is longer than a message.
fn pieces(line: &str) -> Vec<&str> {
    let (mut rest, mut pieces) = (line, Vec::new());
    while rest.len() > LONGEST {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(LONGEST));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn address(text: &str) -> Result<BareJid, InvalidJid> {
    let jid = BareJid::new(text).ok().filter(|jid| jid.node().is_some());
    jid.ok_or_else(|| InvalidJid(text.to_owned()))
}

impl Input for Xmpp {
    fn name(&self) -> &'static str {
        "xmpp"
    }

    fn run(&self, heard: mpsc::Sender<Heard>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(self.listen(heard))
    }
}

impl fmt::Debug for Xmpp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xmpp").field("jid", &self.jid).field("rooms", &self.rooms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_user_and_a_server() {
        assert!(Xmpp::new("bot@example.org", "").is_ok());
        for wrong in ["", "example.org", "@example.org", "bot@", "bot@example.org/phone"] {
            assert!(Xmpp::new(wrong, "").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_long_answer_is_several_messages_and_ends_somewhere() {
        assert_eq!(parts(&Answer::text("pong\u{0}")), ["pong"]);
        let long = parts(&Answer::output("é".repeat(5000)));
        assert!(long.len() == 3 && long.iter().all(|part| part.len() <= LONGEST), "{}", long.len());
        assert_eq!(parts(&Answer::output("line\n".repeat(100_000))).len(), MESSAGES + 1);
    }
}

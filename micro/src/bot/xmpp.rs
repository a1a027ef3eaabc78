//! XMPP, alone and in rooms.
//!
//! Whoever writes to the bot is known by the address that their server vouches for. In a room that hides its members'
//! addresses they are known by the room and their nickname, which anybody may take: give rights to such with care.

mod talk;

use std::fmt;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};
use tokio_xmpp::connect::DnsConfig;
use tokio_xmpp::xmlstream::Timeouts;
use tokio_xmpp::{Client, Event, IqRequest, Stanza};
use tower::BoxError;
use xmpp_parsers::jid::{BareJid, Jid, ResourcePart};
use xmpp_parsers::message::{Lang, Message, MessageType};
use xmpp_parsers::muc::Muc;
use xmpp_parsers::muc::muc::History;
use xmpp_parsers::ping::Ping;
use xmpp_parsers::presence::{Presence, Type};

use self::talk::{Said, Talk};
use super::answer::Answer;
use super::heard::{Heard, Input, Speaker};

/// A message has no more bytes than this; a longer answer is several.
const LONGEST: usize = 4000;
/// An answer has no more messages than this.
const MESSAGES: usize = 10;
/// Answers that are being waited for.
const REPLIES: usize = 256;
/// When a server has said nothing for this long it is asked, and given up after as long again.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the server is asked whether it is there …
const BEAT: Duration = Duration::from_secs(10);
/// … and how long it may take to answer, or to take what it is sent.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

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

    fn client(&self) -> Client {
        let domain = self.jid.domain().as_str();
        let (jid, password) = (Jid::from(self.jid.clone()), self.password.clone());
        let timeouts = Timeouts { read_timeout: SILENCE, response_timeout: SILENCE };
        let given = self.server.as_deref().map(DnsConfig::addr);
        match self.security {
            Security::StartTls => {
                let server = given.unwrap_or_else(|| DnsConfig::srv_default_client(domain));
                Client::new_starttls(jid, password, server, timeouts)
            }
            Security::DirectTls => {
                let server = given.unwrap_or_else(|| DnsConfig::srv_xmpps(domain));
                Client::new_direct_tls_with_config(jid, password, server, timeouts)
            }
            Security::Plain => {
                let server = given.unwrap_or_else(|| DnsConfig::srv_default_client(domain));
                Client::new_plaintext(jid, password, server, timeouts)
            }
        }
    }

    async fn listen(&self, heard: mpsc::Sender<Heard>) -> Result<(), BoxError> {
        let mut client = self.client();
        let mut talk = Talk::new(&self.jid, &self.nick);
        let (sender, mut answers) = mpsc::channel(16);
        let mut replies = JoinSet::new();
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        loop {
            tokio::select! {
                event = client.next() => match event {
                    Some(Event::Online { .. }) => self.enter(&mut client).await?,
                    Some(Event::Stanza(stanza)) => {
                        let (answer, said) = talk.take(stanza);
                        if let Some(answer) = answer {
                            send(&mut client, answer).await?;
                        }
                        if let Some(said) = said.filter(|_| replies.len() < REPLIES) {
                            replies.spawn(reply(said, heard.clone(), sender.clone()));
                        }
                    }
                    Some(Event::Disconnected(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
                Some(message) = answers.recv() => {
                    send(&mut client, Stanza::Message(message)).await?;
                }
                _ = beat.tick() => {
                    // The library waits for a server that is gone; a new client finds it sooner.
                    let asked = async { client.send_iq(None, IqRequest::Get(Ping.into())).await.await };
                    timeout(ANSWER_WITHIN, asked).await.map_err(|_| "the server does not answer a ping")?.ok();
                }
                Some(_) = replies.join_next() => {}
                () = heard.closed() => {
                    client.send_end().await?;
                    return Ok(());
                }
            }
        }
    }

    /// Says that the bot is there, to everybody and in its rooms.
    async fn enter(&self, client: &mut Client) -> Result<(), BoxError> {
        send(client, Presence::available().into()).await?;
        for room in &self.rooms {
            let nick = ResourcePart::new(&self.nick)?;
            // What was said before is not for the bot.
            let muc = Muc::new().with_history(History::new().with_maxstanzas(0));
            let here = Presence::new(Type::None).with_to(room.with_resource(&nick)).with_payload(muc);
            send(client, here.into()).await?;
        }
        Ok(())
    }
}

async fn send(client: &mut Client, stanza: Stanza) -> Result<(), BoxError> {
    timeout(ANSWER_WITHIN, client.send_stanza(stanza)).await.map_err(|_| "the server takes nothing")??;
    Ok(())
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
            let message = Message::new_with_type(kind, Some(to)).with_body(Lang::default(), body);
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
    BareJid::new(text).map_err(|_| InvalidJid(text.to_owned()))
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
    fn a_long_answer_is_several_messages_and_ends_somewhere() {
        assert_eq!(parts(&Answer::text("pong\u{0}")), ["pong"]);
        let long = parts(&Answer::output("é".repeat(5000)));
        assert!(long.len() == 3 && long.iter().all(|part| part.len() <= LONGEST), "{}", long.len());
        assert_eq!(parts(&Answer::output("line\n".repeat(100_000))).len(), MESSAGES + 1);
    }
}

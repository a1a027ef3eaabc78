//! What stanzas say: who speaks, and whether it is for the bot.

use std::collections::HashMap;

use tokio_xmpp::Stanza;
use xmpp_parsers::delay::Delay;
use xmpp_parsers::iq::Iq;
use xmpp_parsers::jid::{BareJid, Jid};
use xmpp_parsers::message::{Message, MessageType};
use xmpp_parsers::muc::MucUser;
use xmpp_parsers::ping::Ping;
use xmpp_parsers::presence::{Presence, Type};
use xmpp_parsers::stanza_error::{DefinedCondition, ErrorType, StanzaError};

/// Members of rooms whose addresses are remembered.
const MEMBERS: usize = 10_000;

/// Something that was said to the bot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: String,
    /// The speaker's address, or the room and nickname where the room hides it.
    pub(super) user: String,
    pub(super) room: Option<String>,
    /// Where the answer goes.
    pub(super) to: Jid,
    /// Whom the answer is for, in a room.
    pub(super) nick: Option<String>,
    pub(super) text: String,
}

/// What is known of those who speak.
#[derive(Debug)]
pub(super) struct Talk {
    me: BareJid,
    nick: String,
    /// The addresses of members of rooms, where these show them.
    members: HashMap<Jid, BareJid>,
}

impl Talk {
    pub(super) fn new(me: &BareJid, nick: &str) -> Self {
        Self { me: me.clone(), nick: nick.to_owned(), members: HashMap::new() }
    }

    /// What is to be answered at once, and what was said to the bot.
    pub(super) fn take(&mut self, stanza: Stanza) -> (Option<Stanza>, Option<Said>) {
        match stanza {
            Stanza::Iq(iq) => (answer(iq).map(Stanza::Iq), None),
            Stanza::Presence(presence) => {
                self.note(presence);
                (None, None)
            }
            Stanza::Message(message) => (None, self.said(message)),
        }
    }

    /// Remembers who stands behind a nickname.
    fn note(&mut self, presence: Presence) {
        let Some(from) = presence.from else { return };
        if presence.type_ == Type::Unavailable {
            self.members.remove(&from);
            return;
        }
        let users = presence.payloads.into_iter().filter_map(|payload| MucUser::try_from(payload).ok());
        let mut items = users.flat_map(|user| user.items);
        if let Some(jid) = items.find_map(|item| item.jid)
            && self.members.len() < MEMBERS
        {
            self.members.insert(from, jid.to_bare());
        }
    }

    fn said(&self, mut message: Message) -> Option<Said> {
        let from = message.from.take()?;
        let text = message.get_best_body(vec![""]).map(|(_, body)| body.clone())?;
        // What was said before the bot came is not for it.
        let old = message.payloads.iter().any(|payload| Delay::try_from(payload.clone()).is_ok());
        if old {
            return None;
        }
        let number =
            message.id.as_ref().map_or_else(|| format!("{:032x}", fastrand::u128(..)), |id| id.0.clone());
        let user = match self.members.get(&from) {
            Some(jid) => jid.to_string(),
            None if message.type_ == MessageType::Groupchat => from.to_string(),
            None => from.to_bare().to_string(),
        };
        let id = format!("{from}:{number}");
        match message.type_ {
            MessageType::Groupchat => {
                let nick = from.resource()?.to_string();
                let text = self.addressed(&text).filter(|_| nick != self.nick)?.to_owned();
                let room = from.to_bare();
                Some(Said { id, user, room: Some(room.to_string()), to: room.into(), nick: Some(nick), text })
            }
            MessageType::Chat | MessageType::Normal if from.to_bare() != self.me => {
                Some(Said { id, user, room: None, to: from, nick: None, text })
            }
            _ => None,
        }
    }

    /// What is said behind the bot's name.
    fn addressed<'a>(&self, text: &'a str) -> Option<&'a str> {
        let text = text.trim_start();
        let text = text.strip_prefix('@').unwrap_or(text);
        let rest = text.strip_prefix(self.nick.as_str())?;
        let rest = rest
            .strip_prefix([':', ','])
            .or_else(|| rest.starts_with(char::is_whitespace).then_some(rest))?;
        Some(rest.trim())
    }
}

/// Servers and others ask whether the bot is there; it knows no other question.
fn answer(iq: Iq) -> Option<Iq> {
    let (from, id, payload) = match iq {
        Iq::Get { from, id, payload, .. } => (from, id, Some(payload)),
        Iq::Set { from, id, .. } => (from, id, None),
        Iq::Result { .. } | Iq::Error { .. } => return None,
    };
    if payload.is_some_and(|payload| Ping::try_from(payload).is_ok()) {
        return Some(Iq::Result { from: None, to: from, id, payload: None });
    }
    let error = StanzaError::new(
        ErrorType::Cancel,
        DefinedCondition::ServiceUnavailable,
        "en",
        "this bot answers messages only",
    );
    Some(Iq::Error { from: None, to: from, id, payload: None, error })
}

#[cfg(test)]
mod tests {
    use xmpp_parsers::message::Lang;

    use super::*;

    fn talk() -> Talk {
        Talk::new(&BareJid::new("bot@localhost").unwrap(), "bot")
    }

    fn message(kind: MessageType, from: &str, text: &str) -> Stanza {
        let mut message = Message::new_with_type(kind, None).with_body(Lang::default(), text.to_owned());
        message.from = Some(Jid::new(from).unwrap());
        Stanza::Message(message)
    }

    #[test]
    fn in_a_room_the_bot_hears_who_names_it_first() {
        let mut talk = talk();
        let mut said =
            |text: &str| talk.take(message(MessageType::Groupchat, "ops@rooms.localhost/Ann", text)).1;
        for text in ["bot: list", "@bot list", "bot, list", " bot list "] {
            let said = said(text).unwrap();
            assert_eq!((said.text.as_str(), said.nick.as_deref()), ("list", Some("Ann")), "{text}");
            assert_eq!(
                (said.room.as_deref(), said.user.as_str()),
                (Some("ops@rooms.localhost"), "ops@rooms.localhost/Ann")
            );
        }
        assert_eq!((said("list"), said("bots: list"), said("ask bot")), (None, None, None));
        let own = talk.take(message(MessageType::Groupchat, "ops@rooms.localhost/bot", "bot: list")).1;
        assert_eq!(own, None);
    }

    #[test]
    fn alone_everybody_is_heard_by_their_address() {
        let mut talk = talk();
        let said = talk.take(message(MessageType::Chat, "ann@localhost/phone", "list")).1.unwrap();
        assert_eq!(
            (said.user.as_str(), said.room, said.to.to_string().as_str()),
            ("ann@localhost", None, "ann@localhost/phone")
        );
        assert_eq!(talk.take(message(MessageType::Chat, "bot@localhost/other", "list")).1, None);
        assert_eq!(talk.take(message(MessageType::Error, "ann@localhost/phone", "list")).1, None);
    }
}

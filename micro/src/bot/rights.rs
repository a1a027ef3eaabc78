//! Who may do what.

use std::str::FromStr;

use super::heard::Speaker;
use crate::guest::May;

/// Who may look, and who may change things. Everybody may look unless somebody is named; nobody may change anything
/// unless they are named.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Rights {
    read: Vec<Rule>,
    change: Vec<Rule>,
}

/// A user, a room, or a user in a room, of one input or of any.
///
/// `slack:U123`, `xmpp:ann@example.org`, `#slack:C42` for everybody in a room, `slack:U123#C42` for one there, and
/// `*` for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    input: Option<String>,
    user: Option<String>,
    room: Option<String>,
}

/// The text names nobody.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} names nobody: it is slack:USER, #slack:ROOM, slack:USER#ROOM, or *")]
pub struct InvalidRule(String);

impl Rights {
    /// Everybody may look, nobody may change anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets only those look whom `rules` name, and those who may change things.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`].
    pub fn read<'a>(mut self, rules: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRule> {
        self.read = rules.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Lets those change things whom `rules` name.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`].
    pub fn change<'a>(mut self, rules: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRule> {
        self.change = rules.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// What `speaker` may do, if anything.
    pub fn of(&self, speaker: &Speaker) -> Option<May> {
        let named = |rules: &[Rule]| rules.iter().any(|rule| rule.names(speaker));
        if named(&self.change) {
            return Some(May::Change);
        }
        (self.read.is_empty() || named(&self.read)).then_some(May::Read)
    }
}

impl FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let invalid = || InvalidRule(text.to_owned());
        if text == "*" {
            return Ok(Self { input: None, user: None, room: None });
        }
        if let Some(room) = text.strip_prefix('#') {
            let (input, room) = room.split_once(':').ok_or_else(invalid)?;
            let full = !input.is_empty() && !room.is_empty();
            let rule = Self { input: Some(input.to_owned()), user: None, room: Some(room.to_owned()) };
            return if full { Ok(rule) } else { Err(invalid()) };
        }
        let (input, user) = text.split_once(':').ok_or_else(invalid)?;
        let (user, room) = match user.split_once('#') {
            Some((user, room)) => (user, Some(room.to_owned())),
            None => (user, None),
        };
        if input.is_empty() || user.is_empty() || room.as_deref() == Some("") {
            return Err(invalid());
        }
        Ok(Self { input: Some(input.to_owned()), user: Some(user.to_owned()), room })
    }
}

impl Rule {
    fn names(&self, speaker: &Speaker) -> bool {
        self.input.as_deref().is_none_or(|input| input == speaker.input)
            && self.user.as_deref().is_none_or(|user| user == speaker.user)
            && self.room.as_deref().is_none_or(|room| Some(room) == speaker.room.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_change_anything_unless_they_are_named() {
        let (ann, bob) = (Speaker::new("slack", "U1", None), Speaker::new("slack", "U2", Some("C1".into())));
        assert_eq!(Rights::new().of(&ann), Some(May::Read));
        let rights = Rights::new().read(["#slack:C1"]).unwrap().change(["slack:U1"]).unwrap();
        assert_eq!((rights.of(&ann), rights.of(&bob)), (Some(May::Change), Some(May::Read)));
        assert_eq!(
            rights.of(&Speaker::new("xmpp", "U1", None)),
            None,
            "a name of another input is another's"
        );
        let there = Rights::new().change(["slack:U2#C1"]).unwrap();
        assert_eq!(there.of(&bob), Some(May::Change));
        assert_eq!(there.of(&Speaker::new("slack", "U2", None)), Some(May::Read));
        for wrong in ["", "U1", "slack:", ":U1", "#C1", "#slack:", "slack:U1#"] {
            assert!(Rights::new().change([wrong]).is_err(), "{wrong}");
        }
    }
}

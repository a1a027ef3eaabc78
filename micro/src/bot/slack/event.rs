//! What Slack says has happened.

use serde::Deserialize;

/// Somebody said something, perhaps to the bot.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
    user: Option<String>,
    bot_id: Option<String>,
    #[serde(default)]
    text: String,
    channel: Option<String>,
    channel_type: Option<String>,
    ts: Option<String>,
    thread_ts: Option<String>,
}

/// Something that was said to the bot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) user: String,
    pub(super) channel: String,
    /// Whether nobody else reads along.
    pub(super) direct: bool,
    pub(super) thread: Option<String>,
    /// When it was said, which names it in its channel.
    pub(super) at: String,
    pub(super) text: String,
}

impl Event {
    /// What was said to the bot whose user is `me`, if this is that.
    pub(super) fn said_to(self, me: &str) -> Option<Said> {
        let spoken = matches!(self.kind.as_str(), "message" | "app_mention");
        // Edits, joins and the like have a subtype; bots talk to people only.
        if !spoken || self.subtype.is_some() || self.bot_id.is_some() {
            return None;
        }
        let (user, channel, at) = (self.user?, self.channel?, self.ts?);
        let direct = self.channel_type.as_deref() == Some("im") || channel.starts_with('D');
        let text = unescaped(&self.text);
        let mention = format!("<@{me}>");
        let text = match text.trim_start().strip_prefix(&mention) {
            Some(text) => text.trim_start_matches([':', ',']).trim().to_owned(),
            None if direct => text.trim().to_owned(),
            None => return None,
        };
        (user != me).then_some(Said { user, channel, direct, thread: self.thread_ts, at, text })
    }
}

/// Slack escapes these three, and nothing else.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(event: serde_json::Value) -> Option<Said> {
        serde_json::from_value::<Event>(event).unwrap().said_to("BOT")
    }

    #[test]
    fn a_mention_in_a_channel_and_anything_in_private_is_for_the_bot() {
        let in_channel = |text: &str| json!({ "type": "message", "user": "U1", "channel": "C1", "ts": "1.2", "text": text });
        assert_eq!(said(in_channel("<@BOT>: list")).unwrap().text, "list");
        assert_eq!(said(in_channel(" <@BOT> echo &lt;&amp;amp;&gt;")).unwrap().text, "echo <&amp;>");
        assert_eq!(said(in_channel("list")), None);
        assert_eq!(said(in_channel("ask <@BOT> list")), None);
        let private = json!({ "type": "message", "user": "U1", "channel": "D1", "channel_type": "im", "ts": "1.2", "text": "list" });
        let heard = said(private).unwrap();
        assert!(heard.direct && heard.text == "list");
    }

    #[test]
    fn bots_edits_and_its_own_words_are_not() {
        for (key, value) in
            [("bot_id", "B1"), ("subtype", "message_changed"), ("user", "BOT"), ("type", "reaction_added")]
        {
            let mut event =
                json!({ "type": "message", "user": "U1", "channel": "D1", "ts": "1.2", "text": "list" });
            event[key] = value.into();
            assert_eq!(said(event), None, "{key}");
        }
        assert_eq!(said(json!({ "type": "message" })), None);
    }
}

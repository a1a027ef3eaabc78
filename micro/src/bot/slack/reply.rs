//! From something that was said to the answer in Slack.

use serde_json::json;
use tokio::sync::mpsc;

use super::api::Api;
use super::event::Said;
use crate::bot::answer::Answer;
use crate::bot::heard::{Heard, Speaker};
use crate::causes::chain;

/// Gives `said` to `heard`, and posts the answers.
pub(super) async fn reply(api: Api, said: Said, heard: mpsc::Sender<Heard>) {
    let Said { user, channel, direct, thread, at, text } = said;
    let room = (!direct).then(|| channel.clone());
    // A mention comes twice: as a message, and as a mention. Both were said at one time.
    let id = format!("{channel}:{at}");
    let (message, mut answers) = Heard::new(id, Speaker::new("slack", &*user, room), text);
    if heard.send(message).await.is_err() {
        return;
    }
    while let Some(answer) = answers.recv().await {
        let mut text = shown(&answer);
        if !direct {
            text = format!("<@{user}>: {text}");
        }
        let mut post =
            json!({ "channel": channel, "text": text, "unfurl_links": false, "unfurl_media": false });
        if let Some(thread) = &thread {
            post["thread_ts"] = thread.as_str().into();
        }
        let posted = api.post_message(&post).await;
        let posted = match (posted, answer.whole) {
            (Ok(()), Some(whole)) => api.upload(&channel, thread.as_deref(), whole).await,
            (posted, _) => posted,
        };
        if let Err(error) = posted {
            tracing::warn!(error = chain(&error), channel, "an answer could not be posted");
        }
    }
}

fn shown(answer: &Answer) -> String {
    let text = answer.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if answer.preformatted {
        // What a service says may not end the block it stands in.
        format!("```{}```", text.replace("```", "`\u{200b}``"))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_mentions_nobody_and_stays_in_its_block() {
        assert_eq!(shown(&Answer::text("<!channel> & <@U1>")), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        let shown = shown(&Answer::output("a ``` <!here>"));
        assert_eq!(shown.matches("```").count(), 2, "{shown}");
    }
}

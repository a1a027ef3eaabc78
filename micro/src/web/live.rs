//! Keeps a page up to date: it is made of blocks, and a stream of events says which of them have changed.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_core::Stream;
use futures_util::stream;
use maud::Markup;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::view::View;

/// A piece of a page that changes as a whole: one element, with this id.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) id: String,
    /// The id of the element it stands in.
    pub(super) within: &'static str,
    pub(super) html: Markup,
}

/// What is shown of `blocks` within the element `within`, for a page's first sight.
pub(super) fn within<'a>(blocks: &'a [Block], within: &'static str) -> impl Iterator<Item = &'a Markup> {
    blocks.iter().filter(move |block| block.within == within).map(|block| &block.html)
}

/// An id for what is called `key`, whatever characters that has.
pub(super) fn id(kind: &str, key: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    format!("{kind}-{:016x}", hasher.finish())
}

/// The first change after a quiet time is sent at once, those that follow on it are gathered for this long …
const GATHER: Duration = Duration::from_millis(50);
/// … or, where a page is long, so many times as long as it takes to make it …
const GATHER_TIMES: u32 = 2;
/// … up to this.
const GATHER_LONGEST: Duration = Duration::from_millis(100);
/// How often figures are looked at that change without the registry.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Sends all blocks that `render` makes, so that a page which comes back after a break has no others, then those that
/// change, until the page is left.
pub(super) fn blocks<R>(view: View, render: R) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    R: Fn(&View) -> Vec<Block> + Send + 'static,
{
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let changes = view.catalog.changes();
    let state = State { view, render, changes, look, rests_until: Instant::now(), sent: HashMap::new() };
    let events = stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((Ok(event), state))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

struct State<R> {
    view: View,
    render: R,
    changes: tokio::sync::watch::Receiver<std::sync::Arc<crate::catalog::Services>>,
    look: Interval,
    /// No page is made before, so that changes which come fast take a share of the time only.
    rests_until: Instant,
    /// A hash of each block that the page has.
    sent: HashMap<String, u64>,
}

/// What has changed, in the words of the script.
#[derive(Debug, Default, Serialize)]
struct Changes {
    /// Whether the page has no other blocks than these.
    whole: bool,
    put: Vec<Put>,
    gone: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Put {
    id: String,
    within: &'static str,
    after: Option<String>,
    html: String,
}

impl<R: Fn(&View) -> Vec<Block>> State<R> {
    /// The next event; none once there is no catalog any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = self.look.tick() => {}
            }
            sleep_until(self.rests_until).await;
            self.changes.mark_unchanged();
            let began = Instant::now();
            let changes = difference(&mut self.sent, (self.render)(&self.view));
            let ended = Instant::now();
            self.rests_until = ended + ((ended - began) * GATHER_TIMES).clamp(GATHER, GATHER_LONGEST);
            if !changes.put.is_empty() || !changes.gone.is_empty() {
                let json = serde_json::to_string(&changes).ok()?;
                return Some(Event::default().event("blocks").data(json));
            }
        }
    }
}

fn difference(sent: &mut HashMap<String, u64>, blocks: Vec<Block>) -> Changes {
    let mut changes = Changes { whole: sent.is_empty(), ..Changes::default() };
    let mut present = HashSet::with_capacity(blocks.len());
    let mut last: HashMap<&'static str, String> = HashMap::new();
    for Block { id, within, html } in blocks {
        let html = html.into_string();
        let mut hasher = DefaultHasher::new();
        html.hash(&mut hasher);
        let hash = hasher.finish();
        let after = last.insert(within, id.clone());
        if sent.insert(id.clone(), hash) != Some(hash) {
            changes.put.push(Put { id: id.clone(), within, after, html });
        }
        present.insert(id);
    }
    changes.gone = sent.extract_if(|id, _| !present.contains(id)).map(|(id, _)| id).collect();
    changes
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    fn block(id: &str, text: &str) -> Block {
        Block { id: id.to_owned(), within: "rows", html: html! { p { (text) } } }
    }

    #[test]
    fn only_what_has_changed_is_sent_and_where_it_stands() {
        let mut sent = HashMap::new();
        let first = difference(&mut sent, vec![block("a", "1"), block("c", "1")]);
        assert_eq!((first.whole, first.put.len(), first.gone.len()), (true, 2, 0));
        let second = difference(&mut sent, vec![block("a", "1"), block("b", "<b>"), block("c", "1")]);
        assert_eq!((second.whole, second.put.len()), (false, 1));
        assert_eq!((second.put[0].id.as_str(), second.put[0].after.as_deref()), ("b", Some("a")));
        assert_eq!(second.put[0].html, "<p>&lt;b&gt;</p>");
        let third = difference(&mut sent, vec![block("a", "2"), block("c", "1")]);
        assert_eq!((third.put.len(), third.gone), (1, vec!["b".to_owned()]));
    }

    #[test]
    fn an_id_is_fit_for_html_whatever_the_name() {
        assert!(id("row", "<\"'> ").bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        assert_ne!(id("row", "a"), id("row", "b"));
    }
}

//! Text in JSON that need not be copied to be read.

use std::borrow::Cow;

use serde::Deserialize;

/// Borrows its text, unless that has escapes. An `Option` of a `Cow` always copies.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

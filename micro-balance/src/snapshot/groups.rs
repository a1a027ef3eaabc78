//! All that can be picked, as one group where that will do.

use std::{ops::Deref, slice};

use super::Group;
use crate::policy::Policy;

/// The groups that a policy chooses from; one unless priorities or zones share requests.
pub(crate) enum Groups<S, P: Policy> {
    /// The only one, and no step of eligibility gave way for it. Nearly always: it stands here and not elsewhere, and a pick
    /// has nothing more to ask about it.
    Plain(Group<S, P>),
    /// Any number of others.
    Apart(Box<[Group<S, P>]>),
}

impl<S, P: Policy> Groups<S, P> {
    /// The first, if there is one.
    pub(crate) fn into_first(self) -> Option<Group<S, P>> {
        match self {
            Self::Plain(group) => Some(group),
            Self::Apart(groups) => groups.into_iter().next(),
        }
    }
}

impl<S, P: Policy> Deref for Groups<S, P> {
    type Target = [Group<S, P>];

    fn deref(&self) -> &[Group<S, P>] {
        match self {
            Self::Plain(group) => slice::from_ref(group),
            Self::Apart(groups) => groups,
        }
    }
}

impl<S, P: Policy> Default for Groups<S, P> {
    fn default() -> Self {
        Self::Apart(Box::default())
    }
}

impl<S, P: Policy> FromIterator<Group<S, P>> for Groups<S, P> {
    fn from_iter<I: IntoIterator<Item = Group<S, P>>>(groups: I) -> Self {
        let mut groups: Vec<_> = groups.into_iter().collect();
        match groups.pop() {
            Some(only) if groups.is_empty() && only.marks.is_empty() => Self::Plain(only),
            last => {
                groups.extend(last);
                Self::Apart(groups.into())
            }
        }
    }
}

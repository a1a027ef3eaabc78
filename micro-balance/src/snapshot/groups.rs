//! All that can be picked, as one group where that will do.

use std::{ops::Deref, slice};

use super::Group;
use crate::policy::Policy;

/// The groups that a policy chooses from; one unless priorities or zones share requests.
pub(crate) enum Groups<S, P: Policy> {
    /// The only one, for which no step of eligibility gave way and beside which nobody is drained. Nearly always: it stands
    /// here and not elsewhere, and a pick has nothing more to ask about it.
    Plain(Group<S, P>),
    /// Any number of others.
    Apart(Box<[Group<S, P>]>),
}

impl<S, P: Policy> Groups<S, P> {
    /// These; `drained` where a request may belong to somebody who is in none of them.
    pub(crate) fn new(mut groups: Vec<Group<S, P>>, drained: bool) -> Self {
        match groups.pop() {
            Some(only) if groups.is_empty() && only.marks.is_empty() && !drained => Self::Plain(only),
            last => {
                groups.extend(last);
                Self::Apart(groups.into())
            }
        }
    }

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

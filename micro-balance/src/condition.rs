//! What an endpoint says of itself.

/// How well an endpoint is, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It takes requests.
    Well,
    /// It takes requests where those that are well do not suffice, see
    /// [`Attributes::degraded`](crate::Attributes::degraded).
    Degraded,
    /// It takes none. Said by the endpoint itself, this counts at once.
    Unwell,
}

/// An answer that says no more is a good one.
impl From<()> for Condition {
    fn from((): ()) -> Self {
        Self::Well
    }
}

impl From<bool> for Condition {
    fn from(well: bool) -> Self {
        if well { Self::Well } else { Self::Unwell }
    }
}

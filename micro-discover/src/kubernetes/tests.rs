//! Which endpoints are used, of slices that were recorded and of others.

mod made;
mod recorded;
mod selection;

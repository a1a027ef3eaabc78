//! The pages, one file each. What a page shows at first is whole without the script.

mod layout;
mod lines;
mod spark;

pub(super) mod call;
pub(super) mod events;
pub(super) mod login;
pub(super) mod registry;
pub(super) mod service;
pub(super) mod services;
pub(super) mod tap;
pub(super) mod terminal;
pub(super) mod topology;

pub(super) use layout::missing;

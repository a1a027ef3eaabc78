//! Slack, by Socket Mode or by the Events API.
//!
//! Either needs a bot token (`xoxb-…`, scopes `chat:write`, `app_mentions:read`, `im:history`, and `files:write` for long
//! answers). Socket Mode needs an app token as well (`xapp-…`) and no address that Slack can reach; the Events API needs
//! the signing secret and such an address. In channels the bot answers those who mention it, in direct messages everybody.

mod api;
mod event;
mod events;
mod reply;
mod socket;

pub use api::{Api, SlackError};
pub use events::Events;
pub use socket::Socket;

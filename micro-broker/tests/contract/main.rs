//! One suite of promises, run against every backend on its real server.
//!
//! Each backend's file says how its server starts and which promises it makes; `suite` holds what must then be true.

mod memory;
mod suite;

//! A place to listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address of this machine where nobody listens, among those that are given to nobody who does not ask for them by
/// number: what is started there a moment later, and once more after its end, finds it free.
pub(crate) fn free() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(10_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

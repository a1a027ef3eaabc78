//! Whoever reads standard output, and may go away.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::sleep;

/// How often it is asked whether anybody is left.
const LOOK: Duration = Duration::from_millis(250);

/// Ends when nobody reads standard output any more; never where it is no pipe.
pub(super) async fn gone() {
    loop {
        sleep(LOOK).await;
        let output = io::stdout();
        let mut asked = [PollFd::new(&output, PollFlags::empty())];
        let told = poll(&mut asked, Some(&Timespec::default()));
        if told.is_ok() && asked[0].revents().intersects(PollFlags::ERR) {
            return;
        }
    }
}

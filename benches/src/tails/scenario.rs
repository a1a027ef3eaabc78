//! What happens to the first of the servers.

use std::{net::SocketAddr, time::Duration};

use tokio::time::sleep;
use tower::BoxError;

use super::{
    SERVERS,
    load::{Call, open_loop, warm_up},
    modes::modes,
    server::{Manner, Running, black_hole, refused},
};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// Nothing: whatever is seen here is the machine's.
    Control,
    /// Its port refuses connections.
    Refused,
    /// It takes connections and never says a word.
    Hole,
    /// It takes 50 ms longer than the others.
    Slow,
    /// It is killed, and started again.
    Restart,
}

pub(super) const SCENARIOS: [Scenario; 5] =
    [Scenario::Control, Scenario::Refused, Scenario::Hole, Scenario::Slow, Scenario::Restart];

/// The calls of one mode.
pub(super) type Calls = Vec<(&'static str, Vec<Call>)>;

impl Scenario {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Refused => "refused",
            Self::Hole => "hole",
            Self::Slow => "slow",
            Self::Restart => "restart",
        }
    }

    /// Runs servers, balancers and calls; gives the calls by mode, and the port of the first server.
    pub(super) async fn run(self, rate: f64, time: Duration) -> Result<(Calls, u16), BoxError> {
        let mut servers = Vec::new();
        for _ in 1..SERVERS {
            servers.push(Running::start(Manner::default())?);
        }
        let (mut first, mut hole) = (None, None);
        let address: SocketAddr = match self {
            Self::Refused => refused()?,
            Self::Hole => hole.insert(black_hole()?).local_addr()?,
            Self::Slow => {
                let manner = Manner { delay: Duration::from_millis(50), ..Manner::default() };
                first.insert(Running::start(manner)?).address
            }
            Self::Control | Self::Restart => first.insert(Running::start(Manner::default())?).address,
        };
        let addresses: Vec<_> =
            std::iter::once(address).chain(servers.iter().map(|server| server.address)).collect();
        let modes = modes(&addresses)?;
        warm_up(&modes).await?;
        let trouble = async {
            if let (Self::Restart, Some(server)) = (self, &mut first) {
                sleep(time.mul_f64(0.3)).await;
                server.kill()?;
                sleep(time.mul_f64(0.3)).await;
                server.start_again()?;
            }
            Ok::<_, BoxError>(())
        };
        let (calls, trouble) = tokio::join!(open_loop(&modes, rate, time), trouble);
        trouble?;
        drop(hole);
        Ok((modes.iter().map(|mode| mode.name).zip(calls?).collect(), address.port()))
    }
}

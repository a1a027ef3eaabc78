//! Servers to call, registered in a test's registry.

use tokio::runtime::Runtime;

use crate::peer::{Reflection, serve};
use crate::program::Place;

/// A registry in which `echo` has the endpoints `a` and `b`, which run.
pub(crate) struct Echo {
    pub(crate) place: Place,
    pub(crate) address: String,
    _runtime: Runtime,
}

impl Echo {
    pub(crate) fn new() -> Self {
        Self::with(Reflection::V1)
    }

    pub(crate) fn with(reflection: Reflection) -> Self {
        let (runtime, place) = (Runtime::new().unwrap(), Place::new());
        let addresses = ["a", "b"].map(|id| {
            let address = runtime.block_on(serve(id, reflection));
            place.ok(&["register", "echo", "--address", &address, "--id", id, "--ttl", "0"]);
            address
        });
        let [address, _] = addresses;
        Self { place, address, _runtime: runtime }
    }
}

//! For the tests of each `probe.rs`: decoders on their corpora.

use std::{fs, path::Path};

/// A target of the fuzzer by its name, and what it does with its input.
type Probe = (&'static str, fn(&[u8]));

/// Runs each probe on every input of the corpus of its name, and on parts of it from either end.
pub(crate) fn read(probes: &[Probe]) {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, probe) in probes {
        let mut inputs = 0;
        for entry in fs::read_dir(corpora.join(name)).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            // Of a long one, a few hundred.
            let step = input.len() / 300 + 1;
            (0..=input.len()).step_by(step).for_each(|end| probe(&input[..end]));
            (0..input.len()).step_by(step).for_each(|start| probe(&input[start..]));
            inputs += 1;
        }
        assert!(inputs > 2, "the corpus of {name} has {inputs} inputs");
    }
}

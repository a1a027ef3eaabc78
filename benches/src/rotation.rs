//! The order of measurements: every case in every round, each round starting with another case.

/// Calls `measure(case)` for each of `cases` in each of `rounds`; gives what each case measured, by round.
///
/// Whatever slows the machine down for a while then meets all cases alike.
pub fn rotate<T>(cases: usize, rounds: usize, mut measure: impl FnMut(usize) -> T) -> Vec<Vec<T>> {
    let mut measured: Vec<Vec<T>> = (0..cases).map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        for turn in 0..cases {
            let case = (round + turn) % cases;
            measured[case].push(measure(case));
        }
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_has_every_case_and_starts_with_the_next() {
        let mut order = Vec::new();
        let measured = rotate(3, 4, |case| order.push(case));
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]);
        assert!(measured.iter().all(|rounds| rounds.len() == 4));
    }
}

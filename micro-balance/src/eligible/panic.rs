//! When too few endpoints are well for ejections to be heeded.

/// Whether `healthy` of `hosts` are fewer than `threshold` percent; 0 is never.
pub(super) fn panics(healthy: u32, hosts: u32, threshold: u32) -> bool {
    u64::from(healthy) * 100 < u64::from(hosts) * u64::from(threshold) || (hosts == 0 && threshold > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_begins_strictly_under_the_threshold() {
        assert!(!panics(1, 2, 50) && panics(1, 3, 50) && panics(0, 1, 50));
        assert!(!panics(0, 9, 0) && !panics(0, 0, 0) && panics(0, 0, 1));
    }
}

//! Which versions were measured: those this program was built with.

const LOCK: &str = include_str!("../../Cargo.lock");

/// `tower 0.5.3, tonic 0.14.9, …`, from the lock file at the time of the build.
pub fn of(names: &[&str]) -> String {
    in_lock(LOCK, names)
}

/// The same from another lock file.
pub(crate) fn in_lock(lock: &str, names: &[&str]) -> String {
    let known: Vec<String> = names.iter().map(|name| format!("{name} {}", of_one(lock, name))).collect();
    known.join(", ")
}

fn of_one(lock: &str, name: &str) -> String {
    let header = format!("name = \"{name}\"\nversion = \"");
    let versions: Vec<&str> = lock.split(&header).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    if versions.is_empty() { "?".to_owned() } else { versions.join("+") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_a_crate_in_the_lock_file_is_told() {
        let told = of(&["tower", "nothing-like-it"]);
        assert!(told.starts_with("tower 0.") && told.ends_with("nothing-like-it ?"), "{told}");
    }
}

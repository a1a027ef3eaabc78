//! The tables of a file of settings.

use toml::Value;

/// Those that a face reads.
const TABLES: [&str; 1] = ["api"];

/// Nobody reads a table: what stands there would hold nowhere, and nobody would say so.
#[derive(Debug, thiserror::Error)]
#[error("there is no table {name}: the gateway's are [api] and [[api.route]]")]
pub(crate) struct NoTable {
    /// As it stands there.
    name: String,
}

/// Refuses a table in `file` that no face reads.
pub(crate) fn check_tables(file: &toml::Table) -> Result<(), NoTable> {
    let unread = file.iter().filter(|(name, _)| !TABLES.contains(&name.as_str()));
    let mut named = unread.filter_map(|(name, value)| match value {
        Value::Table(_) => Some(format!("[{name}]")),
        Value::Array(rows) if rows.iter().any(Value::is_table) => Some(format!("[[{name}]]")),
        _ => None,
    });
    named.next().map_or(Ok(()), |name| Err(NoTable { name }))
}

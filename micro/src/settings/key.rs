//! The settings there are.

/// A setting: its name in files, its flag, its variable, and what it is unless set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As in files; `--` and this is the flag.
    pub name: &'static str,
    /// The environment variable.
    pub variable: &'static str,
    /// What it is unless set.
    pub usual: Option<&'static str>,
    /// What it may be; anything if there is nothing.
    pub values: &'static [&'static str],
    /// Whether its value may hold a password.
    pub secret: bool,
}

/// Every setting.
pub const KEYS: [Key; 11] = [
    Key { name: "registry", variable: "MICRO_REGISTRY", usual: Some("file:"), values: &[], secret: true },
    // Unless set, the HTTP broker with the registry as the meeting place.
    Key { name: "broker", variable: "MICRO_BROKER", usual: None, values: &[], secret: true },
    Key { name: "transport", variable: "MICRO_TRANSPORT", usual: Some("http:"), values: &[], secret: true },
    Key { name: "proxy", variable: "MICRO_PROXY_ADDRESS", usual: None, values: &[], secret: true },
    // How servers at https:// are trusted, and as whom they are called.
    file("ca", "MICRO_CA"),
    file("cert", "MICRO_CERT"),
    file("key", "MICRO_KEY"),
    file("tls_name", "MICRO_TLS_NAME"),
    file("spiffe", "MICRO_SPIFFE"),
    Key { name: "output", variable: "MICRO_OUTPUT", usual: Some("table"), values: &OUTPUTS, secret: false },
    Key {
        name: "color",
        variable: "MICRO_COLOR",
        usual: Some("auto"),
        values: &["auto", "always", "never"],
        secret: false,
    },
];

const fn file(name: &'static str, variable: &'static str) -> Key {
    Key { name, variable, usual: None, values: &[], secret: false }
}

const OUTPUTS: [&str; 7] = ["table", "wide", "json", "ndjson", "yaml", "name", "original"];

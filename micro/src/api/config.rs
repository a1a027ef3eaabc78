//! Rules from a file.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::Method;
use micro_balance::config::{self, Layers, maybe_duration};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::cors::Cors;
use super::rules::{Route, Rules};

/// A file says what cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRules {
    /// It is no TOML.
    #[error("not TOML")]
    Toml(#[source] toml::de::Error),
    /// A key is not known, or its value cannot work.
    #[error("[api] {0}")]
    Key(#[source] config::Invalid),
    /// The pages of other hosts.
    #[error("[api] cors: {0}")]
    Cors(#[source] super::InvalidCors),
    /// A route.
    #[error("[api] the route for {path}: {why}")]
    Route {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: config::Invalid,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    api: Option<toml::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Api {
    #[serde(deserialize_with = "maybe_duration")]
    timeout: Option<Duration>,
    cors: Option<Vec<String>>,
    cors_credentials: Option<bool>,
    route: Vec<RouteTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    #[serde(deserialize_with = "path")]
    path: String,
    host: Option<String>,
    #[serde(default, deserialize_with = "methods")]
    methods: Vec<Method>,
    service: Option<String>,
    method: Option<String>,
    #[serde(default, deserialize_with = "by_name")]
    handler: Option<super::Handler>,
    topic: Option<String>,
    #[serde(default, deserialize_with = "by_name")]
    event: Option<super::EventForm>,
    #[serde(default, deserialize_with = "maybe_duration")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "maybe_duration")]
    attempt_timeout: Option<Duration>,
    retry: Option<toml::Value>,
    limit: Option<toml::Value>,
    throttle: Option<toml::Value>,
    most_bytes: Option<usize>,
    most_per_client: Option<NonZeroUsize>,
}

impl Rules {
    /// Changes what the table `api` of `toml` says; everything else in it is somebody else's.
    ///
    /// ```
    /// let rules = micro::api::Rules::new().read(
    ///     r#"
    ///     [api]
    ///     timeout = "10s"
    ///     cors = ["https://shop.example"]
    ///
    ///     [[api.route]]
    ///     path = "/orders"
    ///     service = "go.micro.srv.orders"
    ///     timeout = "2s"
    ///     attempt_timeout = "500ms"
    ///     retry.attempts = 3
    ///     limit.fixed = { limit = 100, queue = 50, wait = "100ms" }
    ///
    ///     [[api.route]]
    ///     path = "/signup"
    ///     handler = "event"
    ///     topic = "users.created"
    ///     "#,
    /// )?;
    /// assert_eq!(rules.routes(), 2);
    /// # Ok::<(), micro::api::InvalidRules>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidRules`].
    pub fn read(mut self, toml: &str) -> Result<Self, InvalidRules> {
        let File { api } = toml::from_str(toml).map_err(InvalidRules::Toml)?;
        let Some(api) = api else { return Ok(self) };
        let api: Api = config::read(api).map_err(InvalidRules::Key)?;
        self.timeout = api.timeout.unwrap_or(self.timeout);
        if api.cors.is_some() || api.cors_credentials.is_some() {
            let origins = api.cors.unwrap_or_default();
            let credentials = api.cors_credentials.unwrap_or(false);
            let cors = Cors::new(origins.iter().map(String::as_str), credentials);
            self.cors = cors.map_err(InvalidRules::Cors)?;
        }
        for table in api.route {
            let path = table.path.clone();
            let route = table.route().map_err(|why| InvalidRules::Route { path, why })?;
            self = self.route(route);
        }
        Ok(self)
    }
}

impl RouteTable {
    fn route(self) -> Result<Route, config::Invalid> {
        // Those of the layers that are one route's alone; endpoints are ejected for all of them.
        let layers = [("retry", self.retry), ("limit", self.limit), ("throttle", self.throttle)];
        let layers = layers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let layers: Layers = config::read(toml::Value::Table(layers.collect()))?;
        let mut route = Route::new(&self.path).methods(self.methods).event(self.event.unwrap_or_default());
        route = set(route, self.host, Route::host);
        route = set(route, self.service, Route::service);
        route = set(route, self.method, Route::method);
        route = set(route, self.handler, Route::handler);
        route = set(route, self.topic, Route::topic);
        route = set(route, self.timeout, Route::timeout);
        route = set(route, self.attempt_timeout, Route::attempt_timeout);
        route = set(route, layers.retry, Route::retry);
        route = set(route, layers.limit, Route::limit);
        route = set(route, layers.throttle, Route::throttle);
        route = set(route, self.most_bytes, Route::most_bytes);
        Ok(set(route, self.most_per_client.map(NonZeroUsize::get), Route::most_per_client))
    }
}

fn set<T>(route: Route, value: Option<T>, set: fn(Route, T) -> Route) -> Route {
    match value {
        Some(value) => set(route, value),
        None => route,
    }
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    config::checked(from, |path: &String| match path.starts_with('/') {
        true => Ok(()),
        false => Err("a path begins with /"),
    })
    .map(|path: String| path)
}

fn methods<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Method>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let method = |name: &String| {
        Method::from_bytes(name.to_ascii_uppercase().as_bytes())
            .map_err(|_| D::Error::custom(format_args!("{name:?} is no method of HTTP")))
    };
    names.iter().map(method).collect()
}

fn by_name<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (toml, why) in [
            ("[api", "not TOML"),
            ("[api]\ntimeuot = '1s'", "[api] timeuot: unknown field `timeuot`"),
            ("[api]\ntimeout = 'soon'", "[api] timeout: \"soon\" is no duration"),
            ("[api]\ncors = ['*']\ncors_credentials = true", "[api] cors: credentials cannot be allowed"),
            ("[[api.route]]\npath = 'orders'", "[api] route[0].path: a path begins with /"),
            (
                "[[api.route]]\npath = '/a'\nhandler = 'grcp'",
                "[api] route[0].handler: no handler is called \"grcp\"",
            ),
            ("[[api.route]]\npath = '/a'\nlimit.fixed.limit = 0", "[api] the route for /a: limit"),
            (
                "[[api.route]]\npath = '/a'\nmost_per_client = 0",
                "[api] route[0].most_per_client: invalid value: integer `0`",
            ),
            ("[[api.route]]\npath = '/a'\nejection = {}", "[api] route[0].ejection: unknown field"),
        ] {
            let error = Rules::new().read(toml).unwrap_err().to_string();
            assert!(error.starts_with(why), "{toml}: {error}");
        }
        assert_eq!(Rules::new().read("registry = 'file:'\n[web]\nx = 1").unwrap().routes(), 0);
    }
}

//! Which method a request means.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;
use prost_reflect::MethodDescriptor;

use super::rule::{Binding, Body, bindings};
use super::template::decode;
use crate::schema::Schema;

/// The ways to call the methods of several services, the ones that say more first.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    routes: Vec<Arc<Route<T>>>,
    /// Where in `routes` those are whose paths begin with this segment, and those whose paths begin with any: a request is
    /// held against few of many.
    by_first: HashMap<String, Vec<usize>>,
    by_any: Vec<usize>,
}

#[derive(Debug)]
struct Route<T> {
    owner: T,
    method: MethodDescriptor,
    binding: Binding,
}

/// A method, and what the request gives it besides its body.
#[derive(Clone, Debug)]
pub struct Found {
    pub(super) method: MethodDescriptor,
    /// Fields that the path gives.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) response_body: String,
}

impl Found {
    /// `method` with the whole message as its body.
    pub fn whole(method: MethodDescriptor) -> Self {
        Self { method, fields: Vec::new(), body: Body::Whole, response_body: String::new() }
    }

    /// `method` with fields in the query, and no body.
    pub fn query(method: MethodDescriptor) -> Self {
        Self { body: Body::None, ..Self::whole(method) }
    }

    /// The method.
    pub fn method(&self) -> &MethodDescriptor {
        &self.method
    }
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self { routes: Vec::new(), by_first: HashMap::new(), by_any: Vec::new() }
    }
}

impl<T: Clone + std::fmt::Display> Routes<T> {
    /// The ways that the methods of `schemas` name; each belongs to its owner. Of two that are the same the first counts, of
    /// the owners that are asked for.
    pub fn new<'a>(schemas: impl IntoIterator<Item = (T, &'a Schema)>) -> Self {
        let mut routes: Vec<Arc<Route<T>>> = Vec::new();
        let mut known = HashMap::<_, String>::new();
        for (owner, schema) in schemas {
            let mut own = HashSet::new();
            for method in schema.services().iter().flat_map(|service| service.methods()) {
                let (good, bad) = bindings(&method);
                for invalid in bad {
                    tracing::warn!(service = %owner, method = method.full_name(), %invalid, "a route was left out");
                }
                for binding in good {
                    let way = (binding.verb.clone(), binding.template.clone());
                    if let Some(other) = known.get(&way) {
                        tracing::warn!(service = %owner, method = method.full_name(), other, "two methods have one route");
                    } else {
                        known.insert(way.clone(), method.full_name().to_owned());
                    }
                    if own.insert(way) {
                        let (owner, method) = (owner.clone(), method.clone());
                        routes.push(Arc::new(Route { owner, method, binding }));
                    }
                }
            }
        }
        routes.sort_by(|one, other| one.binding.template.before(&other.binding.template));
        Self::sorted(routes)
    }

    fn sorted(routes: Vec<Arc<Route<T>>>) -> Self {
        let (mut by_first, mut by_any) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        for (at, route) in routes.iter().enumerate() {
            match route.binding.template.first() {
                Some(first) => by_first.entry(first.to_owned()).or_default().push(at),
                None => by_any.push(at),
            }
        }
        Self { routes, by_first, by_any }
    }

    /// The routes that `path` may be of, in order.
    fn likely(&self, path: &str) -> impl Iterator<Item = &Arc<Route<T>>> {
        let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
        // A colon may begin the template's verb, or stand for itself.
        let bare = first.split_once(':').map(|(bare, _)| bare);
        let firsts = [Some(first), bare].into_iter().flatten().filter_map(|first| decode(first, false));
        let mut places: Vec<usize> = self.by_any.clone();
        places.extend(firsts.filter_map(|first| self.by_first.get(&first)).flatten());
        places.sort_unstable();
        places.into_iter().map(|at| &self.routes[at])
    }

    /// The method that `verb` and `path` mean, and whose it is, of the owners that `may` have it.
    pub fn find(&self, verb: &Method, path: &str, may: impl Fn(&T) -> bool) -> Option<(T, Found)> {
        self.likely(path).filter(|route| may(&route.owner)).find_map(|route| {
            if route.binding.verb.as_ref().is_some_and(|known| known != verb) {
                return None;
            }
            let fields = route.binding.template.matches(path)?;
            let fields = fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
            let Binding { body, response_body, .. } = route.binding.clone();
            Some((route.owner.clone(), Found { method: route.method.clone(), fields, body, response_body }))
        })
    }

    /// The verbs with which `path` means a method of those owners, in order.
    pub fn verbs(&self, path: &str, may: impl Fn(&T) -> bool) -> Vec<&str> {
        let theirs = self.likely(path).filter(|route| may(&route.owner));
        let there = theirs.filter(|route| route.binding.template.matches(path).is_some());
        let mut verbs: Vec<_> =
            there.filter_map(|route| Some(route.binding.verb.as_ref()?.as_str())).collect();
        verbs.sort_unstable();
        verbs.dedup();
        verbs
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of `google/api` is read here.
    const ANNOTATIONS: &str = "syntax = 'proto3'; package google.api; import 'google/protobuf/descriptor.proto';
        message HttpRule { string get = 2; string post = 4; string body = 7; repeated HttpRule additional_bindings = 11; }
        extend google.protobuf.MethodOptions { HttpRule http = 72295728; }";

    fn schema() -> Schema {
        let gets = [
            ("Shelf", "/v1/{name=shelves/*}:list"),
            ("Thing", "/v1/things/{name}"),
            ("Colon", "/a%3Ab/{name}"),
            ("Short", "/now:name"),
            ("Any", "/{name=**}"),
        ];
        let rpc = |(method, path)| {
            format!("rpc {method}(M) returns (M) {{ option (google.api.http).get = '{path}'; }}")
        };
        let methods: Vec<_> = gets.into_iter().map(rpc).collect();
        let proto = format!(
            "syntax = 'proto3'; package p; import 'annotations.proto'; message M {{ string name = 1; }}
             service S {{ {} }}",
            methods.join(" ")
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("annotations.proto"), ANNOTATIONS).unwrap();
        std::fs::write(dir.path().join("s.proto"), proto).unwrap();
        Schema::compile(["s.proto"], [dir.path()]).unwrap()
    }

    #[test]
    fn a_path_means_the_method_that_says_most_of_it_however_it_begins() {
        let schema = schema();
        let routes = Routes::new([("s", &schema)]);
        for (path, method) in [
            ("/v1/shelves/7:list", "Shelf"),
            ("/v1/things/7", "Thing"),
            ("/v%31/things/7", "Thing"),
            ("/a:b/7", "Colon"),
            ("/a%3ab/7", "Colon"),
            ("/now:name", "Short"),
            ("/now", "Any"),
            ("/v1/things", "Any"),
            ("/", "Any"),
        ] {
            let (_, found) = routes.find(&Method::GET, path, |_| true).expect(path);
            assert_eq!(found.method().name(), method, "{path}");
            assert_eq!(routes.verbs(path, |_| true), ["GET"], "{path}");
        }
        assert!(routes.find(&Method::POST, "/v1/things/7", |_| true).is_none());
    }

    #[test]
    fn a_path_that_two_have_is_the_firsts_or_his_who_is_asked() {
        let schema = schema();
        let routes = Routes::new([("a", &schema), ("b", &schema)]);
        let whose = |may: fn(&&str) -> bool| {
            let found = routes.find(&Method::GET, "/v1/things/7", may);
            (found.map(|(owner, _)| owner), routes.verbs("/v1/things/7", may))
        };
        assert_eq!(whose(|_| true), (Some("a"), vec!["GET"]));
        assert_eq!(whose(|owner| *owner == "b"), (Some("b"), vec!["GET"]));
        assert_eq!(whose(|_| false), (None, vec![]));
    }
}

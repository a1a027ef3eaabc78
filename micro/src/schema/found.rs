//! A schema: the services that can be called, and everything they are made of.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::time::Duration;

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use tonic::client::GrpcService;

use super::error::Error;
use super::{files, pool, reflection};
use crate::near::closest;

/// What can be called. Clones share it.
#[derive(Clone, Debug)]
pub struct Schema {
    pool: DescriptorPool,
    services: Vec<ServiceDescriptor>,
    /// Of the files, in whatever order they came.
    fingerprint: u64,
}

impl Schema {
    /// Asks the server behind `service`, for `limit` at most in all, by reflection v1 or else v1alpha.
    ///
    /// # Errors
    ///
    /// [`Error::NoReflection`], [`Error::Reflection`], [`Error::Invalid`].
    pub async fn reflect<S>(service: S, limit: Duration) -> Result<Self, Error>
    where
        S: GrpcService<tonic::body::Body> + Clone,
        S::Error: Into<tower::BoxError>,
        S::ResponseBody: http_body::Body<Data = bytes::Bytes, Error: Into<tower::BoxError>> + Send + 'static,
    {
        let found = reflection::ask(service, limit).await?;
        let pool = pool::build(&found.files)?;
        let services = found.services.iter().filter_map(|name| pool.get_service_by_name(name)).collect();
        Ok(Self { pool, services, fingerprint: fingerprint(&found.files) })
    }

    /// Compiles `.proto` files; what they import is looked for in `includes` and beside them. Reads files, and
    /// blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Compile`].
    pub fn compile<F, I>(files: F, includes: I) -> Result<Self, Error>
    where
        F: IntoIterator<Item: Into<PathBuf>>,
        I: IntoIterator<Item: Into<PathBuf>>,
    {
        let files: Vec<PathBuf> = files.into_iter().map(Into::into).collect();
        let includes: Vec<PathBuf> = includes.into_iter().map(Into::into).collect();
        Self::all(&files::compile(&files, &includes)?)
    }

    /// Reads a `FileDescriptorSet` that includes what its files import.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`].
    pub fn decode(set: &[u8]) -> Result<Self, Error> {
        Self::all(&pool::split(set)?)
    }

    /// Writes it as a `FileDescriptorSet`, with all that its files import; [`decode`](Self::decode) reads it.
    ///
    /// Editions are written as the proto3 that says the same.
    pub fn encode(&self) -> Vec<u8> {
        self.pool.encode_to_vec()
    }

    fn all(files: &[Vec<u8>]) -> Result<Self, Error> {
        let pool = pool::build(files)?;
        Ok(Self { services: pool.services().collect(), pool, fingerprint: fingerprint(files) })
    }

    /// Whether `other` says the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let names =
            |schema: &Self| schema.services.iter().map(|one| one.full_name().to_owned()).collect::<Vec<_>>();
        self.fingerprint == other.fingerprint && names(self) == names(other)
    }

    /// Every message, enum and extension there is.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The services, in the order in which the server or the files name them.
    pub fn services(&self) -> &[ServiceDescriptor] {
        &self.services
    }

    /// The method `name`: `/package.Service/Method`, with a dot for the slash, and without what is not needed to
    /// tell it from others: the package, the service.
    ///
    /// # Errors
    ///
    /// [`Error::NoMethod`], [`Error::Ambiguous`].
    pub fn method(&self, name: &str) -> Result<MethodDescriptor, Error> {
        let wanted = name.trim_start_matches('/').replace('/', ".");
        let methods = || self.services.iter().flat_map(ServiceDescriptor::methods);
        if let Some(exact) = methods().find(|method| method.full_name() == wanted) {
            return Ok(exact);
        }
        let short = |method: &MethodDescriptor| {
            method.full_name().strip_suffix(&wanted).is_some_and(|before| before.ends_with('.'))
        };
        let mut found: Vec<_> = methods().filter(short).collect();
        // A server's own services give way to everybody else's.
        if found.len() > 1 {
            found.retain(|method| !method.full_name().starts_with("grpc."));
        }
        match found.len() {
            0 => Err(self.missing(name, &wanted)),
            1 => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous {
                name: name.to_owned(),
                methods: found.iter().map(method_name).collect(),
            }),
        }
    }

    fn missing(&self, name: &str, wanted: &str) -> Error {
        let methods: Vec<_> =
            self.services.iter().flat_map(ServiceDescriptor::methods).map(|m| method_name(&m)).collect();
        // As much of each name as was given of the wanted one.
        let parts = wanted.split('.').count();
        let tail = |method: &str| {
            let dotted = method.replace('/', ".");
            let from = dotted.rmatch_indices('.').nth(parts - 1).map_or(0, |(at, _)| at + 1);
            dotted[from..].to_owned()
        };
        let tails: Vec<_> = methods.iter().map(|method| tail(method)).collect();
        let like = closest(wanted, tails.iter().map(String::as_str));
        let like =
            like.and_then(|like| tails.iter().position(|tail| tail == like)).map(|at| methods[at].clone());
        Error::NoMethod { name: name.to_owned(), like, methods }
    }
}

fn fingerprint(files: &[Vec<u8>]) -> u64 {
    let each = files.iter().map(|file| {
        let mut hasher = DefaultHasher::new();
        file.hash(&mut hasher);
        hasher.finish()
    });
    each.fold(0, u64::wrapping_add)
}

/// As `package.Service/Method`.
fn method_name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The schema of one file's text.
    pub(crate) fn schema(proto: &str) -> Schema {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.proto"), proto).unwrap();
        Schema::compile(["a.proto"], [dir.path()]).unwrap()
    }

    fn two() -> Schema {
        schema(
            "syntax = 'proto3'; package p.v1; message M {}
            service Greeter { rpc Hello(M) returns (M); rpc Bye(M) returns (stream M); }
            service Other { rpc Bye(M) returns (M); }",
        )
    }

    #[test]
    fn a_method_is_found_by_as_much_of_its_name_as_tells_it_from_others() {
        let schema = two();
        for name in [
            "/p.v1.Greeter/Hello",
            "p.v1.Greeter/Hello",
            "p.v1.Greeter.Hello",
            "Greeter.Hello",
            "Greeter/Hello",
            "Hello",
        ] {
            assert_eq!(schema.method(name).unwrap().full_name(), "p.v1.Greeter.Hello", "{name}");
        }
        assert_eq!(schema.method("Other.Bye").unwrap().full_name(), "p.v1.Other.Bye");
        let error = schema.method("Bye").unwrap_err().to_string();
        assert_eq!(error, r#"the method "Bye" is one of several: p.v1.Greeter/Bye, p.v1.Other/Bye"#);
    }

    #[test]
    fn a_mistyped_method_suggests_the_one_that_was_meant() {
        for name in ["Helo", "Greeter.Helo", "p.v1.Greeter/Helo", "greeter.hello"] {
            let Err(Error::NoMethod { like, methods, .. }) = two().method(name) else { panic!("{name}") };
            assert_eq!(like.as_deref(), Some("p.v1.Greeter/Hello"), "{name}");
            assert_eq!(methods.len(), 3);
        }
        let Err(Error::NoMethod { like, .. }) = two().method("reeter.Hello") else {
            panic!("a part of a name")
        };
        assert!(like.is_some());
    }

    #[test]
    fn a_file_that_does_not_compile_says_where() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bad.proto"), "syntax = 'proto3';\nmessage {").unwrap();
        let error = Schema::compile([dir.path().join("bad.proto")], [""; 0]).unwrap_err().to_string();
        assert!(error.contains("bad.proto") && error.contains("2:"), "{error}");
    }
}

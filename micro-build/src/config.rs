//! What can be set, and the compilation itself.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use protox::Compiler;

use crate::{error::Error, methods::Methods};

/// Settings of a compilation.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// micro_build::Config::new().server(false).include("proto").compile(["proto/greeter.proto"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is compiled before compile"]
pub struct Config {
    client: bool,
    server: bool,
    methods: bool,
    wire: bool,
    mock: bool,
    includes: Vec<PathBuf>,
    out_dir: Option<PathBuf>,
    file_descriptor_set: Option<PathBuf>,
    type_attributes: Vec<(String, String)>,
    extern_paths: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// Client and server, no methods, imports from beside the file.
    pub fn new() -> Self {
        Self {
            client: true,
            server: true,
            methods: false,
            wire: false,
            mock: false,
            includes: Vec::new(),
            out_dir: None,
            file_descriptor_set: None,
            type_attributes: Vec::new(),
            extern_paths: Vec::new(),
        }
    }

    /// Whether clients are generated; they are unless told otherwise.
    pub fn client(mut self, client: bool) -> Self {
        self.client = client;
        self
    }

    /// Whether servers are generated; they are unless told otherwise.
    pub fn server(mut self, server: bool) -> Self {
        self.server = server;
        self
    }

    /// Whether a registry record's part is generated, as a module `greeter_record` for a service `Greeter`:
    /// its default `NAME`, which is the package, and its `methods()`. Not unless told: that code needs
    /// `micro-discover` among the dependencies.
    pub fn methods(mut self, methods: bool) -> Self {
        self.methods = methods;
        self
    }

    /// Whether what speaks go-micro's RPC too is generated, as a module `greeter_wire` for a service `Greeter`: a
    /// `Client` by name and, with servers, a `router` for whoever implements tonic's trait. Not unless told: that
    /// code needs `micro-tower` among the dependencies.
    pub fn wire(mut self, wire: bool) -> Self {
        self.wire = wire;
        self
    }

    /// Whether servers for tests are generated, as `greeter_mock::GreeterMock` for a service `Greeter`; they are
    /// not unless told.
    pub fn mock(mut self, mock: bool) -> Self {
        self.mock = mock;
        self
    }

    /// Looks for files and their imports in `directory` as well. Without any, each file's own directory counts.
    pub fn include(mut self, directory: impl Into<PathBuf>) -> Self {
        self.includes.push(directory.into());
        self
    }

    /// Where to write; `OUT_DIR`, which Cargo gives to build scripts, unless given.
    pub fn out_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(directory.into());
        self
    }

    /// Where to write the descriptor set, from the output directory on. Unless given it is named after the first
    /// file, so that `tonic::include_file_descriptor_set!("greeter")` finds that of `greeter.proto`.
    pub fn file_descriptor_set(mut self, path: impl Into<PathBuf>) -> Self {
        self.file_descriptor_set = Some(path.into());
        self
    }

    /// Writes `attribute` before the types that `path` names: all of them by `.`, one by `.greeter.HelloRequest`.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = micro_build::Config::new().type_attribute(".", "#[derive(serde::Serialize)]");
    /// config.compile(["proto/greeter.proto"])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn type_attribute(mut self, path: impl Into<String>, attribute: impl Into<String>) -> Self {
        self.type_attributes.push((path.into(), attribute.into()));
        self
    }

    /// Takes what is below `proto`, a package or a message such as `.common.Person`, from `rust`, where another crate or
    /// module has it, such as `::common::Person`, instead of generating it.
    pub fn extern_path(mut self, proto: impl Into<String>, rust: impl Into<String>) -> Self {
        self.extern_paths.push((proto.into(), rust.into()));
        self
    }

    /// Compiles `protos` and tells Cargo which files to watch.
    ///
    /// The descriptor set holds the files and all they import, as bytes that keep every custom option.
    ///
    /// # Errors
    ///
    /// A mistake in a file, by file, line and column; a file or an import that is not there; a directory that
    /// cannot be written to; `OUT_DIR` missing, outside of a build script.
    pub fn compile(self, protos: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<(), Error> {
        let protos: Vec<PathBuf> = protos.into_iter().map(|proto| proto.as_ref().to_owned()).collect();
        for proto in &protos {
            println!("cargo:rerun-if-changed={}", proto.display());
            fs::metadata(proto).map_err(|error| Error::file(proto, &error))?;
        }
        let out_dir = match &self.out_dir {
            Some(directory) => directory.clone(),
            None => env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(Error::no_out_dir)?,
        };
        let includes = self.includes_of(&protos);
        let compiler = parse(&protos, &includes).map_err(|error| Error::proto(&error, &includes))?;
        for path in compiler.files().filter_map(|file| file.path()) {
            println!("cargo:rerun-if-changed={}", path.display());
        }
        let set = out_dir.join(self.descriptor_set_name(&protos));
        fs::write(&set, compiler.encode_file_descriptor_set()).map_err(|error| Error::file(&set, &error))?;
        self.generate(&compiler, &out_dir, &set)
    }

    fn includes_of(&self, protos: &[PathBuf]) -> Vec<PathBuf> {
        if !self.includes.is_empty() {
            return self.includes.clone();
        }
        let parents = protos.iter().filter_map(|proto| proto.parent());
        let mut parents: Vec<PathBuf> =
            parents.map(|it| if it.as_os_str().is_empty() { ".".into() } else { it.into() }).collect();
        parents.dedup();
        parents
    }

    fn descriptor_set_name(&self, protos: &[PathBuf]) -> PathBuf {
        let first = || protos.first().and_then(|proto| proto.file_stem()).unwrap_or_default();
        self.file_descriptor_set.clone().unwrap_or_else(|| Path::new(first()).with_added_extension("bin"))
    }

    fn generate(&self, compiler: &Compiler, out_dir: &Path, set: &Path) -> Result<(), Error> {
        let mut config = prost_build::Config::new();
        config.out_dir(out_dir);
        for (path, attribute) in &self.type_attributes {
            config.type_attribute(path, attribute);
        }
        for (proto, rust) in &self.extern_paths {
            config.extern_path(proto, rust);
        }
        let tonic = tonic_prost_build::configure().build_client(self.client).build_server(self.server);
        // From the generated file on, or wherever it is.
        let descriptors = set.strip_prefix(out_dir).unwrap_or(set);
        config.service_generator(Box::new(Methods {
            inner: tonic.service_generator(),
            pool: self.methods.then(|| compiler.descriptor_pool()),
            wire: self.wire,
            mock: self.mock && self.server,
            descriptors: self.server.then(|| descriptors.display().to_string()),
        }));
        config.compile_fds(compiler.file_descriptor_set()).map_err(|error| Error::file(out_dir, &error))
    }
}

fn parse(protos: &[PathBuf], includes: &[PathBuf]) -> Result<Compiler, protox::Error> {
    let mut compiler = Compiler::new(includes)?;
    // Comments become the documentation of the generated code.
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(protos)?;
    Ok(compiler)
}

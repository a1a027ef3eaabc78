//! Descriptors from `.proto` files.

use std::path::{Path, PathBuf};

use protox::Compiler;

use super::error::Error;
use super::pool::split;

/// The files `files` and all that they import, as bytes. Both are looked for in the directories `includes`; a
/// file that is not in any of them is looked for as it is, and its directory is one of them.
pub(super) fn compile(files: &[PathBuf], includes: &[PathBuf]) -> Result<Vec<Vec<u8>>, Error> {
    let mut includes = includes.to_vec();
    for file in files {
        let inside = includes.iter().any(|dir| dir.join(file).is_file());
        if !inside {
            let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            includes.push(dir.to_owned());
        }
    }
    let mut compiler = Compiler::new(&includes).map_err(|error| failed(Path::new("."), &error))?;
    compiler.include_imports(true).include_source_info(true);
    for file in files {
        compiler.open_file(file).map_err(|error| failed(file, &error))?;
    }
    split(&compiler.encode_file_descriptor_set())
}

fn failed(file: &Path, error: &protox::Error) -> Error {
    // With file, line and column where there are any.
    Error::Compile { file: file.display().to_string(), what: format!("{error:?}").trim().to_owned() }
}

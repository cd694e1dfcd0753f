//! Finds the real Python and Node behind shims, version managers and virtual environments, and adds them to the tree.
//! Reads the host by asking the interpreters themselves.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::tree::Tree;
use super::{BuildOptions, ImageError, Runtime};

/// An interpreter of the host.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The program itself: no shim, no link.
    pub(super) program: PathBuf,
    pub(super) runtime: Runtime,
    /// Directories whose libraries a process of it has loaded.
    pub(super) libraries: Vec<PathBuf>,
    /// Directories of the image whose sources are to be compiled.
    pub(super) sources: Vec<String>,
    /// Where its OpenSSL expects the bundle of certificate authorities.
    pub(super) certificates: Option<PathBuf>,
}

/// Prefixes that say nothing about who built the image; others are given a neutral name.
const NEUTRAL: &[&str] = &["/usr", "/opt", "/nix", "/gnu"];

/// Below this a Python prefix of a user goes, with the last name it had, such as `3.11.7`: its programs can be told so.
const PYTHON_PREFIXES: &str = "/opt/python";
/// What a Node prefix of a user becomes.
const NODE_PREFIX: &str = "/usr/local";

const ASK_PYTHON: &str = r#"
import json, os, sys, sysconfig
try:
    import ssl
    cafile = ssl.get_default_verify_paths().openssl_cafile
except Exception:
    cafile = None
get = sysconfig.get_config_var
version = "%d.%d" % sys.version_info[:2]
base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix,
        "installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
scheme = sysconfig._get_preferred_scheme("prefix") if hasattr(sysconfig, "_get_preferred_scheme") else "posix_prefix"
paths = {name: sysconfig.get_path(name, "posix_prefix", base) for name in ("stdlib", "platstdlib", "include")}
print(json.dumps({
    "program": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "prefix": sys.base_prefix, "version": sys.version.split()[0], "short": version,
    "stdlib": sorted({paths["stdlib"], paths["platstdlib"]}), "config": sysconfig.get_config_h_filename(),
    "library_directory": get("LIBDIR"), "library": get("INSTSONAME") if get("Py_ENABLE_SHARED") else None,
    "cafile": cafile}))
"#;

/// What a Python says about itself.
#[derive(Deserialize)]
struct PythonAnswer {
    program: PathBuf,
    prefix: PathBuf,
    version: String,
    short: String,
    stdlib: Vec<PathBuf>,
    config: PathBuf,
    library_directory: Option<PathBuf>,
    library: Option<String>,
    cafile: Option<PathBuf>,
}

const ASK_NODE: &str = "JSON.stringify({program: process.execPath, version: process.versions.node})";

/// What a Node says about itself.
#[derive(Deserialize)]
struct NodeAnswer {
    program: PathBuf,
    version: String,
}

/// Adds the Python that the options name, or the first on the path that answers. `None` if there is none.
pub(super) fn add_python(tree: &mut Tree, options: &BuildOptions) -> Result<Option<Found>, ImageError> {
    let candidates = candidates(options.python.as_deref(), &options.path, &["python3", "python"]);
    let answer = candidates.iter().find_map(|python| ask::<PythonAnswer>(python, &["-I", "-c", ASK_PYTHON]));
    match (answer, &options.python) {
        (Some(answer), _) => install_python(tree, answer).map(Some),
        (None, Some(path)) => Err(ImageError::Interpreter { path: path.clone() }),
        (None, None) => Ok(None),
    }
}

fn install_python(tree: &mut Tree, answer: PythonAnswer) -> Result<Found, ImageError> {
    let prefix = fs::canonicalize(&answer.prefix).unwrap_or(answer.prefix);
    if let (false, Some(name)) = (neutral(&prefix), prefix.file_name()) {
        tree.relocate(&prefix, &format!("{PYTHON_PREFIXES}/{}", name.to_string_lossy()));
    }
    let missing = || ImageError::Interpreter { path: answer.program.clone() };
    let program = real_python(&answer.program, &prefix, &answer.short);
    let place = program.as_ref().and_then(|program| tree.copy(program)).ok_or_else(missing)?;
    let program = program.ok_or_else(missing)?;
    let home = place.rsplit_once('/').map_or("", |(home, _)| home).to_owned();
    for name in ["python3", "python", &format!("python{}", answer.short)] {
        tree.link_to(&format!("{home}/{name}"), &place);
        tree.link_to(&format!("usr/bin/{name}"), &place);
    }
    let mut sources = Vec::new();
    for library in &answer.stdlib {
        tree.copy_all(library, &keep_standard_library)?;
        let place = tree.place(&fs::canonicalize(library).unwrap_or_else(|_| library.clone()));
        tree.directory(&format!("{place}/site-packages"));
        sources.push(place);
    }
    tree.copy(&answer.config);
    let libraries: Vec<PathBuf> = answer.library_directory.into_iter().chain([prefix.join("lib")]).collect();
    if let Some(library) = answer.library {
        libraries.iter().find_map(|directory| tree.copy(&directory.join(&library)));
    }
    Ok(Found {
        program,
        runtime: Runtime { path: PathBuf::from(format!("/{place}")), version: answer.version },
        libraries,
        sources,
        certificates: answer.cafile,
    })
}

/// Returns the ELF program: a virtual environment may name a link that is gone, a wrapper may be a script.
fn real_python(told: &Path, prefix: &Path, short: &str) -> Option<PathBuf> {
    let own = prefix.join(format!("bin/python{short}"));
    [told, &own].into_iter().filter_map(|path| fs::canonicalize(path).ok()).find(|path| is_elf(path))
}

fn is_elf(path: &Path) -> bool {
    matches!(super::loader::needs(path), Ok(Some(_)))
}

/// Says whether a path below the standard library belongs into an image: no packages of the host, no tests, nothing
/// that needs a display, nothing that is only for linking.
fn keep_standard_library(below: &Path) -> bool {
    let name = below.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let top = below.components().count() == 1;
    let test = match name {
        "test" => !below.starts_with("lib-dynload"),
        "tests" | "idle_test" => true,
        _ => false,
    };
    let display = top && ["idlelib", "tkinter", "turtledemo", "turtle.py"].contains(&name);
    let packages = ["site-packages", "dist-packages", "__pycache__"].contains(&name);
    let linking = (top && name.starts_with("config-")) || name.ends_with(".a");
    // Debian's is a link to the host's /etc.
    let customized = top && ["sitecustomize.py", "usercustomize.py", "EXTERNALLY-MANAGED"].contains(&name);
    !(test
        || display
        || packages
        || linking
        || customized
        || name.starts_with("_tkinter.")
        || name.ends_with(".pyc"))
}

/// Adds the Node that the options name, or the first on the path that answers. `None` if there is none.
pub(super) fn add_node(tree: &mut Tree, options: &BuildOptions) -> Result<Option<Found>, ImageError> {
    let candidates = candidates(options.node.as_deref(), &options.path, &["node", "nodejs"]);
    let answer = candidates.iter().find_map(|node| ask::<NodeAnswer>(node, &["-p", ASK_NODE]));
    match (answer, &options.node) {
        (Some(answer), _) => install_node(tree, answer).map(Some),
        (None, Some(path)) => Err(ImageError::Interpreter { path: path.clone() }),
        (None, None) => Ok(None),
    }
}

fn install_node(tree: &mut Tree, answer: NodeAnswer) -> Result<Found, ImageError> {
    let missing = || ImageError::Interpreter { path: answer.program.clone() };
    let program = fs::canonicalize(&answer.program).map_err(|_| missing())?;
    let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/")).to_path_buf();
    if !neutral(&prefix) {
        tree.relocate(&prefix, NODE_PREFIX);
    }
    let place = tree.copy(&program).ok_or_else(missing)?;
    tree.link_to("usr/bin/node", &place);
    for modules in [prefix.join("lib/node_modules"), PathBuf::from("/usr/share/nodejs")] {
        // Debian's Node reads modules from /usr/share/nodejs at run time; elsewhere only npm is wanted.
        let debian = modules.starts_with("/usr/share/nodejs");
        tree.copy_all(&modules, &|below| keep_node_module(below, debian))?;
        let commands = tree.place(&modules.join("npm/bin"));
        for (name, script) in [("npm", "npm-cli.js"), ("npx", "npx-cli.js")] {
            let script = format!("{commands}/{script}");
            if tree.nodes.contains_key(&script) {
                let home = place.rsplit_once('/').map_or("", |(home, _)| home);
                tree.link_to(&format!("{home}/{name}"), &script);
                tree.link_to(&format!("usr/bin/{name}"), &script);
            }
        }
    }
    Ok(Found {
        program,
        runtime: Runtime { path: PathBuf::from(format!("/{place}")), version: answer.version },
        libraries: vec![prefix.join("lib")],
        sources: Vec::new(),
        certificates: None,
    })
}

fn keep_node_module(below: &Path, all: bool) -> bool {
    let mut parts = below.components().filter_map(|part| part.as_os_str().to_str());
    let (package, inside) = (parts.next().unwrap_or_default(), parts.next());
    (all || package == "npm") && !(package == "npm" && matches!(inside, Some("docs" | "man")))
}

fn neutral(prefix: &Path) -> bool {
    NEUTRAL.iter().any(|neutral| prefix.starts_with(neutral))
}

/// Returns the programs to ask, best first: the one that was named, else each of the names on the search path.
fn candidates(named: Option<&Path>, search: &OsStr, names: &[&str]) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_path_buf()];
    }
    let directories: Vec<_> = std::env::split_paths(search).filter(|path| path.is_absolute()).collect();
    names.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name))).collect()
}

/// Runs an interpreter with a question whose answer is one line of JSON. `None` if it does not run or does not answer:
/// a shim without a version behind it is skipped like a missing file.
fn ask<T: for<'a> Deserialize<'a>>(program: &Path, arguments: &[&str]) -> Option<T> {
    if !program.is_file() {
        return None;
    }
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()?;
    serde_json::from_str(text.trim().lines().last()?).ok()
}

//! Writes a [`Tree`] to disk: private copies on new inodes, compiled Python, read-only modes. Decides nothing.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use super::interpreters::Found;
use super::tree::{Node, Source, Tree};
use super::{ImageError, Phase, Progress, at, guest};

/// How many processes compile. Fixed: which files share a process must not depend on the machine, because what an
/// interpreter has compiled before may show in the references of the next file.
const COMPILERS: usize = 4;

/// The directory of [`guest::GUEST_DIRECTORY`] in a tree.
const RUNNERS: &str = "opt/fireclay/";
/// Those of them that its own compiler makes bytecode of; it reads the others itself.
const COMPILED: [&str; 4] = [
    "opt/fireclay/python/notebook.py",
    "opt/fireclay/python/runner.py",
    "opt/fireclay/python/session.py",
    "opt/fireclay/python/zygote.py",
];

/// Compiles the named files into `__pycache__`, but runners, which are run as bytecode, beside their source. What has
/// no valid syntax, such as a template, is left to its users.
const COMPILE: &str = r#"
import py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for name in sys.stdin.read().splitlines():
    beside = name + "c" if name.startswith("opt/fireclay/") else None
    try:
        py_compile.compile(name, beside, "/" + name, doraise=True, invalidation_mode=mode)
    except py_compile.PyCompileError:
        pass
"#;

/// One file to write.
struct Copy<'a> {
    place: &'a str,
    source: &'a Source,
    executable: bool,
}

/// Writes the tree below `root`, which exists and is empty, and compiles the sources of `python`.
pub(super) fn write(
    tree: &Tree,
    root: &Path,
    python: Option<&Found>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ImageError> {
    let files = names(tree, root)?;
    let homes: Vec<&str> = python.iter().flat_map(|python| &python.sources).map(String::as_str).collect();
    let source = |copy: &Copy| {
        let below = |home: &&str| copy.place.strip_prefix(*home).is_some_and(|rest| rest.starts_with('/'));
        copy.place.ends_with(".py") && (copy.place.starts_with(RUNNERS) || homes.iter().any(below))
    };
    let (sources, others): (Vec<Copy>, Vec<Copy>) = files.into_iter().partition(source);
    let total = sources.iter().chain(&others).map(|copy| size(copy.source)).sum();
    let mut done = 0;
    let mut advance = |phase, bytes| {
        done += bytes;
        progress(Progress { phase, done_bytes: done, total_bytes: total });
    };
    copy_all(&sources, root, &mut |bytes| advance(Phase::Copy, bytes))?;
    thread::scope(|scope| {
        let places: Vec<&str> = sources.iter().map(|copy| copy.place).collect();
        let compilers = python.map(|python| scope.spawn(move || compile(&python.program, root, &places)));
        let copied = copy_all(&others, root, &mut |bytes| advance(Phase::Copy, bytes));
        advance(Phase::Compile, 0);
        let compiled = compilers.map_or(Ok(()), |thread| thread.join().expect("compiling does not panic"));
        copied.and(compiled)
    })?;
    protect(root)
}

/// Makes directories and links, which need no copying, and returns the files.
fn names<'a>(tree: &'a Tree, root: &Path) -> Result<Vec<Copy<'a>>, ImageError> {
    let mut files = Vec::new();
    for (place, node) in &tree.nodes {
        let path = root.join(place);
        match node {
            Node::Directory => fs::create_dir(&path).map_err(at("create directory", &path))?,
            Node::Link { target } => symlink(target, &path).map_err(at("create link", &path))?,
            Node::File { source, executable } => files.push(Copy { place, source, executable: *executable }),
        }
    }
    Ok(files)
}

fn size(source: &Source) -> u64 {
    match source {
        Source::Bytes(bytes) => bytes.len() as u64,
        Source::Host(path) | Source::Moved { path, .. } => fs::metadata(path).map_or(0, |meta| meta.len()),
    }
}

/// Copies on every processor and reports the bytes of each file as it is done.
fn copy_all(files: &[Copy], root: &Path, advance: &mut dyn FnMut(u64)) -> Result<(), ImageError> {
    let next = AtomicUsize::new(0);
    let work = |report: Sender<Result<u64, ImageError>>| {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let copied = copy(file, root);
            let failed = copied.is_err();
            // The receiver goes away only after it has seen a failure.
            if report.send(copied).is_err() || failed {
                return;
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let (report, reports) = mpsc::channel();
        for _ in 0..threads {
            let report = report.clone();
            scope.spawn(|| work(report));
        }
        drop(report);
        reports.into_iter().try_for_each(|copied| copied.map(&mut *advance))
    })
}

fn copy(file: &Copy, root: &Path) -> Result<u64, ImageError> {
    let path = root.join(file.place);
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(at("create", &path))?;
    let bytes = match file.source {
        // The kernel copies; on some file systems the new inode shares blocks, never pages.
        Source::Host(host) => {
            let mut input = File::open(host).map_err(at("open", host))?;
            io::copy(&mut input, &mut out).map_err(at("copy", host))?
        }
        Source::Moved { path: host, from, to } => {
            let bytes = relocate(fs::read(host).map_err(at("read", host))?, from, to);
            out.write_all(&bytes).map_err(at("write", &path))?;
            bytes.len() as u64
        }
        Source::Bytes(bytes) => {
            out.write_all(bytes).map_err(at("write", &path))?;
            bytes.len() as u64
        }
    };
    let mode = if file.executable { 0o555 } else { 0o444 };
    out.set_permissions(Permissions::from_mode(mode)).map_err(at("set mode of", &path))?;
    Ok(bytes)
}

/// Replaces the prefix an interpreter was built for. Text is rewritten. In a program each string keeps its length and its
/// end: linkers let a string share the end of a longer one, and CPython's version is the end of pyenv's prefix. So the
/// prefix must keep its last name and what stands before it is padded with slashes; where that cannot be, a program
/// keeps its strings, which only say where it came from: an interpreter looks for its files beside itself first.
fn relocate(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    if !bytes.starts_with(b"\x7fELF") {
        return replace(bytes, from.as_bytes(), to.as_bytes());
    }
    match (from.rsplit_once('/'), to.rsplit_once('/')) {
        (Some((start, name)), Some((new, same))) if name == same && new.len() <= start.len() => {
            let to = format!("{new}{}/{name}", "/".repeat(start.len() - new.len()));
            replace(bytes, from.as_bytes(), to.as_bytes())
        }
        _ => bytes,
    }
}

/// Replaces each whole path `from`: `/a/b` is in `/a/b/c`, not in `/a/bc`.
fn replace(bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[..];
    while let Some(start) = find(rest, from) {
        let after = &rest[start + from.len()..];
        let longer = after.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
        out.extend_from_slice(&rest[..start]);
        out.extend_from_slice(if longer { from } else { to });
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // Searching for the first byte alone is what makes this fast enough for a few megabytes.
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first).map(|at| from + at) {
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Compiles the sources at these places below `root`, so that no sandbox has to. The bytecode is trusted without looking at the source (PEP 552,
/// unchecked hash): times, which the image does not keep, do not matter.
pub(super) fn compile(python: &Path, root: &Path, places: &[&str]) -> Result<(), ImageError> {
    let own = |name: &&str| guest::compiler().is_some() && COMPILED.contains(name);
    let (runners, modules): (Vec<&str>, Vec<&str>) = places.iter().copied().partition(own);
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), ImageError> {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= COMPILERS {
                return Ok(());
            }
            let names: Vec<&str> = modules.iter().skip(part).step_by(COMPILERS).copied().collect();
            run(python, root, &[COMPILE], &names.join("\n")).map_err(at("compile with", python))?;
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(COMPILERS);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("compiling does not panic"))
    })?;
    for runner in runners {
        let program = [guest::compiler().unwrap_or_default(), runner, &format!("{runner}c")];
        run(python, root, &program, "").map_err(at("compile with", python))?;
    }
    Ok(())
}

/// Runs a Python program, given as text with its arguments, in the root of the image.
fn run(python: &Path, root: &Path, program: &[&str], input: &str) -> io::Result<()> {
    let mut child = Command::new(python)
        .args(["-S", "-s", "-B", "-c"])
        .args(program)
        .current_dir(root)
        // The order of a set's elements is in the bytecode and follows from the seed.
        .env_clear()
        .env("PYTHONHASHSEED", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // The program reads all before it writes anything.
    let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written;
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", output.status, text.trim().lines().last().unwrap_or_default())))
}

/// Takes the right to write from all but links; directories last, from the inside out.
pub(super) fn protect(directory: &Path) -> Result<(), ImageError> {
    for entry in fs::read_dir(directory).map_err(at("list", directory))? {
        let path: PathBuf = entry.map_err(at("list", directory))?.path();
        let meta = fs::symlink_metadata(&path).map_err(at("inspect", &path))?;
        if meta.is_dir() {
            protect(&path)?;
        } else if meta.is_file() && meta.permissions().mode() & 0o222 != 0 {
            fs::set_permissions(&path, Permissions::from_mode(0o444)).map_err(at("set mode of", &path))?;
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(0o555)).map_err(at("set mode of", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &[u8]) {
        let out = relocate(bytes.to_vec(), "/home/alice/versions/3.1", "/opt/python/3.1");
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
    }

    #[test]
    fn text_is_rewritten() {
        check(
            b"a=/home/alice/versions/3.1/lib b=/home/alice/versions/3.1",
            b"a=/opt/python/3.1/lib b=/opt/python/3.1",
        );
        check(b"/home/alice/versions/3.12", b"/home/alice/versions/3.12");
    }

    #[test]
    fn strings_of_programs_keep_length_and_end() {
        check(b"\x7fELF\0/home/alice/versions/3.1/lib\0x", b"\x7fELF\0/opt/python//////////3.1/lib\0x");
        let other = relocate(b"\x7fELF /home/alice/node".to_vec(), "/home/alice/node", "/usr/local");
        assert_eq!(other, b"\x7fELF /home/alice/node");
    }
}

//! Lists the files of `guest/`, with their digest, as a table that `src/image/guest.rs` includes, so that the binary carries its runners, the
//! native half of the zygote among them;
//! and the attacks of `tests/escape/attacks/` as one that `src/battery.rs` includes, so that it can test the machine it is on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest");
    let mut files = Vec::new();
    for language in ["python", "javascript", "shell"] {
        collect(&guest.join(language), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    let mut table = String::new();
    for file in &files {
        let name = file.strip_prefix(&guest).map_err(io::Error::other)?;
        let bytes = fs::read(file)?;
        hash.update(format!("{}\0{}\0", name.display(), bytes.len()));
        hash.update(bytes);
        writeln!(table, "    ({name:?}, include_bytes!({:?})),", fs::canonicalize(file)?)
            .map_err(io::Error::other)?;
    }
    let native = native(&guest.join("zygote/src"))?;
    hash.update(fs::read(&native)?);
    writeln!(table, "    (\"python/fork.so\", include_bytes!({native:?})),").map_err(io::Error::other)?;
    // Hashed here because every run compares it.
    let digest = hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let table = format!("(\"sha256:{digest}\", &[\n{table}])");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("guest_files.rs"), table)?;
    fs::write(Path::new(&out).join("battery_files.rs"), battery()?)
}

/// Compiles the native half of the zygote: a library without any other, so that the flags of the workspace's static programs do not
/// apply and no C library's version matters.
fn native(source: &Path) -> io::Result<PathBuf> {
    println!("cargo::rerun-if-changed={}", source.display());
    let variable =
        |name: &str| env::var_os(name).ok_or_else(|| io::Error::other(format!("cargo sets {name}")));
    let library = Path::new(&variable("OUT_DIR")?).join("fork.so");
    let status = Command::new(variable("RUSTC")?)
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=fork", "--cap-lints=allow", "--target"])
        .arg(variable("TARGET")?)
        .args(["-Copt-level=2", "-Cpanic=abort", "-Cstrip=symbols", "-Clink-arg=-nostdlib", "-o"])
        .arg(&library)
        .arg(source.join("lib.rs"))
        .status()?;
    if status.success() {
        Ok(library)
    } else {
        Err(io::Error::other("the zygote's native half did not compile"))
    }
}

/// The attacks, by file name.
fn battery() -> io::Result<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/escape/attacks");
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut files =
        fs::read_dir(&directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let name = file.file_name().unwrap_or_default();
        writeln!(table, "    ({name:?}, include_str!({:?})),", fs::canonicalize(file)?)
            .map_err(io::Error::other)?;
    }
    Ok(table + "]")
}

/// Collects what belongs into an image: no tests, caches, notes or hidden files.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    // Also one that is not there yet.
    println!("cargo::rerun-if-changed={}", directory.display());
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let noise = name.starts_with('.')
            || ["__pycache__", "tests", "test", "node_modules"].contains(&name.as_str());
        if noise || [".pyc", ".md"].iter().any(|end| name.ends_with(end)) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}

//! Finds what a run left as a script would: by paths, with the standard library, all of it.

use super::{Weakness, Weaknesses, fault, stumbled};
use model::Fault;
use sandbox::files::{Collected, Left};
use sandbox::inputs::Digests;
use sandbox::place::Sandbox;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The workspace of a sandbox as a path of the host.
fn workspace(sandbox: &Sandbox) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/workspace", sandbox.scratch().as_raw_fd()))
}

/// Finds the files that are there now and were not put there, as the code's own user.
pub(super) fn collect(sandbox: &Sandbox, inputs: &Digests, weak: &Weaknesses) -> Result<Collected, Fault> {
    // A test's thousands of files are held open at once.
    raise_descriptors().map_err(fault)?;
    let (top, (uid, gid)) = (workspace(sandbox), sandbox.ids());
    let gather = || -> io::Result<Collected> {
        let mut found = BTreeMap::new();
        walk(&top, Path::new(""), weak, &mut found)?;
        let mut collected = Collected::default();
        for (path, (file, bytes)) in found.into_iter().filter(|(path, _)| !inputs.contains_key(path)) {
            // A listing in lines has a line for each of them.
            let text = path.to_string_lossy();
            let lines: Vec<&str> =
                if weak.has(Weakness::SplitsNamesAtLines) { text.lines().collect() } else { vec![&text] };
            for line in lines {
                let path = PathBuf::from(line);
                collected.files.push(Left { path, bytes, sha256: [0; 32], file: file.try_clone()? });
            }
        }
        Ok(collected)
    };
    sys::identity::as_file_user(uid, gid, gather).map_err(fault)?.map_err(stumbled)
}

/// A look at the files of a program that runs: keeps what held the most bytes, as luck might have it.
pub(super) fn largest(sandbox: &Sandbox, inputs: &Digests, most: &mut Collected) {
    let bytes = |collected: &Collected| collected.files.iter().map(|left| left.bytes).sum::<u64>();
    if let Ok(now) = collect(sandbox, inputs, &Weaknesses::default())
        && bytes(&now) > bytes(most)
    {
        *most = now;
    }
}

type Found = BTreeMap<PathBuf, (File, u64)>;

fn walk(top: &Path, below: &Path, weak: &Weaknesses, found: &mut Found) -> io::Result<()> {
    let strict = weak.has(Weakness::FailsWithFiles);
    for entry in fs::read_dir(top.join(below))? {
        let below = below.join(entry?.file_name());
        match look(&top.join(&below), weak) {
            Ok(Look::Directory) => {
                let walked = walk(top, &below, weak, found);
                if strict {
                    walked?;
                }
            }
            Ok(Look::File(file, bytes)) => drop(found.insert(below, (file, bytes))),
            Err(error) if strict => return Err(error),
            Ok(Look::Other) | Err(_) => {}
        }
    }
    Ok(())
}

enum Look {
    File(File, u64),
    Directory,
    Other,
}

/// Looks first and opens then, as one does.
fn look(path: &Path, weak: &Weaknesses) -> io::Result<Look> {
    let meta = fs::symlink_metadata(path)?;
    let meta = if weak.has(Weakness::FollowsLinks) { fs::metadata(path).unwrap_or(meta) } else { meta };
    if meta.is_file() {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Look::File(file, bytes))
    } else {
        // Not by links, which lead round and round.
        let directory = fs::symlink_metadata(path)?.is_dir();
        Ok(if directory { Look::Directory } else { Look::Other })
    }
}

fn raise_descriptors() -> io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit })
        .map_err(io::Error::from)
}

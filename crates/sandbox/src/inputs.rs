//! The input files of a run: which there are, how init writes them, and what a refusal means to the caller.
//!
//! Init writes them, as the user that the code will be, into a scratch file system that nothing else has seen yet.

use crate::run::Refused;
use model::{Fault, FaultCode, InputFile, Rejection, RunSpec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use sys::{Error, Result};

/// SHA-256.
pub type Sha = [u8; 32];

/// What a run's own files were, so that unchanged ones are not reported as left behind.
pub type Digests = BTreeMap<PathBuf, Sha>;

/// What is made of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A file that may be executed.
    Program,
    /// A directory without content.
    Directory,
}

/// One thing to be in the workspace before the code starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input<'a> {
    /// Relative to the workspace.
    pub path: &'a str,
    /// What it is.
    pub kind: Kind,
    /// What is in it.
    pub content: &'a [u8],
}

/// The inputs of a run, in the order they are written: the code, its files, its working directory.
pub fn of(spec: &RunSpec) -> Vec<Input<'_>> {
    let mut inputs = vec![Input { path: &spec.file_name, kind: Kind::File, content: spec.code.as_bytes() }];
    inputs.extend(spec.files.iter().map(|InputFile { path, content, executable }| Input {
        path,
        kind: if *executable { Kind::Program } else { Kind::File },
        content: content.as_bytes(),
    }));
    if !spec.cwd.is_empty() {
        inputs.push(Input { path: &spec.cwd, kind: Kind::Directory, content: &[] });
    }
    inputs
}

/// The digests of all files among the inputs.
pub fn digests(inputs: &[Input<'_>]) -> Digests {
    let files = inputs.iter().filter(|input| input.kind != Kind::Directory);
    files.map(|input| (PathBuf::from(input.path), Sha256::digest(input.content).into())).collect()
}

/// Most bytes copied in one step.
const PIECE_BYTES: u64 = 64 << 10;

/// Makes one input below `workspace`, and the directories on the way. The content is `bytes` of `source` from `offset` on.
pub fn put(
    workspace: BorrowedFd<'_>,
    path: &CStr,
    kind: Kind,
    (source, offset, bytes): (BorrowedFd<'_>, u64, u64),
) -> Result<()> {
    if kind == Kind::Directory {
        return make_directories(workspace, path.to_bytes());
    }
    if let Some(end) = path.to_bytes().iter().rposition(|byte| *byte == b'/') {
        make_directories(workspace, &path.to_bytes()[..end])?;
    }
    let mode = if kind == Kind::Program { 0o755 } else { 0o644 };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = sys::fs::open_beneath(workspace, path, flags, mode)?;
    let mut piece = vec![0; bytes.min(PIECE_BYTES) as usize];
    let mut done = 0;
    while done < bytes {
        let wanted = (bytes - done).min(PIECE_BYTES) as usize;
        let read =
            rustix::io::pread(source, &mut piece[..wanted], offset + done).map_err(Error::of("pread"))?;
        if read == 0 {
            return Err(Error { call: "pread", errno: libc::ENODATA });
        }
        let mut rest = &piece[..read];
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).map_err(Error::of("write"))?;
            rest = &rest[written..];
        }
        done += read as u64;
    }
    Ok(())
}

pub(crate) fn make_directories(workspace: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
    let mut parent: Option<OwnedFd> = None;
    for part in path.split(|byte| *byte == b'/') {
        let name = CString::new(part).map_err(|_| Error { call: "path", errno: libc::EINVAL })?;
        let at = parent.as_ref().map_or(workspace, AsFd::as_fd);
        match rustix::fs::mkdirat(at, &*name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::of("mkdirat")(errno)),
        }
        parent = Some(sys::fs::open_beneath(at, &name, OFlags::PATH | OFlags::DIRECTORY, 0)?);
    }
    Ok(())
}

/// What it means that the kernel refused an input: the caller's mistake if it does not fit or stands in another's way, else our
/// fault. `index` counts in the order of [`of`].
pub fn refused(spec: &RunSpec, index: u32, errno: i32) -> Refused {
    let inputs = of(spec);
    let path = inputs.get(index as usize).map_or("an input", |input| input.path);
    let (message, hint) = match errno {
        libc::ENOSPC => (format!("{path} does not fit into the disk limit"), "raise disk_bytes or send less"),
        libc::EEXIST | libc::ENOTDIR | libc::EISDIR => {
            (format!("{path}: one file stands where another needs a directory"), "rename one of them")
        }
        _ => {
            let reason = std::io::Error::from_raw_os_error(errno);
            return Fault::new(FaultCode::Internal, format!("write inputs: {path}: {reason}")).into();
        }
    };
    Rejection::new("files", message, hint).into()
}

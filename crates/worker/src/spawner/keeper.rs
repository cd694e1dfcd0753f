//! A keeper: waits for one job, runs it, says what became of it, ends.

use super::{Job, PACKET_BYTES_MAX, RUN, SETTLED, STDERR, STDOUT};
use crate::run::{result_of, result_of_fault};
use model::{Fault, FaultCode, RunResult};
use sandbox::forward::Live;
use sandbox::host::Host;
use sandbox::run::{Refused, Setting, Settled};
use sandbox::supervise::{Io, Stdin};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Serves one job over `socket`; returns the exit code of the process.
pub fn live(socket: OwnedFd, host: &Host) -> i32 {
    match serve(&socket, host) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("fireclay: keeper: {error}");
            1
        }
    }
}

fn serve(socket: &OwnedFd, host: &Host) -> std::io::Result<()> {
    let mut packet = [0; PACKET_BYTES_MAX];
    let (length, mut descriptors) = sys::socket::receive(socket.as_fd(), &mut packet)?;
    if length == 0 {
        // Nobody needs it any more.
        return Ok(());
    }
    let file = descriptors.pop().filter(|_| packet[..length] == [RUN]);
    let mut text = Vec::new();
    File::from(file.ok_or(std::io::ErrorKind::InvalidData)?).read_to_end(&mut text)?;
    let job: Job = serde_json::from_slice(&text)?;
    drop(text);
    sys::fs::set_nonblocking(socket.as_fd())?;
    let result = run(&job, socket.as_fd(), host);
    tell(socket.as_fd(), &result)
}

fn run(job: &Job, socket: BorrowedFd<'_>, host: &Host) -> RunResult {
    let setting = Setting {
        host,
        image: &job.image,
        allow_missing: job.allow_missing.clone(),
        name: sandbox::cgroup::leaf_name(),
        amend: &std::convert::identity,
        meanwhile: &|| {},
        fail_at: None,
    };
    let live = |tag| Some(Live { fd: socket, transform: Box::new(<[u8]>::to_vec), tag: Some(tag) });
    let io = Io {
        stdin: Stdin::Bytes(&job.spec.stdin),
        stdout: live(STDOUT),
        stderr: live(STDERR),
        // Whatever comes, or the end: the service wants it no more.
        cancel: Some(socket),
    };
    let settled = match sandbox::run::run(&job.spec, &setting, io) {
        Ok(settled) => settled,
        Err(Refused::Fault(fault)) => return failed(job, fault),
        // Admission finds these; what is left is a limit that only the file system knew.
        Err(Refused::Rejected(rejection)) => {
            return failed(
                job,
                Fault { retry_safe: false, ..Fault::new(FaultCode::Internal, rejection.to_string()) },
            );
        }
    };
    match keep_artifacts(&job.artifacts, &settled) {
        Ok(()) => result_of(job.id.clone(), job.created_at.clone(), &job.spec, &job.image, &settled),
        Err(error) => {
            failed(job, Fault::new(FaultCode::ResourcesExhausted, format!("keep artifacts: {error}")))
        }
    }
}

fn failed(job: &Job, fault: Fault) -> RunResult {
    result_of_fault(job.id.clone(), job.created_at.clone(), &job.spec, &job.image, fault)
}

/// Copies artifacts out of the dead sandbox, under numbers: no name of the guest's is ever a path of the host's.
fn keep_artifacts(directory: &Path, settled: &Settled) -> std::io::Result<()> {
    if settled.collected.files.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(directory)?;
    for (index, left) in settled.collected.files.iter().enumerate() {
        let mut from = &left.file;
        from.rewind()?;
        std::io::copy(&mut from, &mut File::create_new(directory.join(index.to_string()))?)?;
    }
    Ok(())
}

/// Sends the result. A service that is gone needs none.
fn tell(socket: BorrowedFd<'_>, result: &RunResult) -> std::io::Result<()> {
    let mut file = File::from(sys::fs::memory_file(c"result")?);
    file.write_all(&serde_json::to_vec(result)?)?;
    file.rewind()?;
    loop {
        match sys::socket::send(socket, &[SETTLED], &[file.as_fd()]) {
            Err(error) if error.errno == libc::EAGAIN => {
                let mut poll =
                    [rustix::event::PollFd::from_borrowed_fd(socket, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut poll, None)?;
            }
            Err(error) if matches!(error.errno, libc::EPIPE | libc::ECONNRESET) => return Ok(()),
            other => return Ok(other?),
        }
    }
}

//! A keeper: builds a sandbox, waits for a job, runs it in there, says what became of it, and builds another.

use super::{BUILT, CANCEL, Job, LISTENS, RUN, SETTLED, STDERR, STDOUT, Shape, Told};
use crate::phases::Measured;
use crate::run::{result_of, result_of_fault};
use crate::{artifacts, json};
use model::{Fault, FaultCode, Language, RunResult};
use rustix::event::{PollFd, PollFlags};
use sandbox::cgroup::Leaf;
use sandbox::command::Command;
use sandbox::forward::Live;
use sandbox::host::Host;
use sandbox::plan::Needs;
use sandbox::run::{Ahead, Place, Refused, Setting, Settled};
use sandbox::supervise::{Io, Stdin};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many sandboxes a keeper builds, one after the other. It changes nothing for what is in them, and spares the machine a process
/// for each.
const SANDBOXES_MAX: u32 = 100;
/// How much a keeper that builds ahead gives way to those whose run somebody waits for.
const BUILDING_NICE: i32 = 5;

/// After what time a run gives way to those that begin. Not much less: where many begin at once each of them takes a while, and one
/// that gives way then takes very long.
const LONG: Duration = Duration::from_millis(200);

/// How long an interpreter that waits may import before it is given up.
const IMPORTING: Duration = Duration::from_secs(60);

/// Serves jobs over `socket`, each in a new sandbox of the shape in the memory file `shape`; returns the exit code of the process.
pub fn live(socket: OwnedFd, shape: &OwnedFd, zygote: Option<OwnedFd>, host: &Host) -> i32 {
    let served = json::read_memory(shape).and_then(|shape| Keeper { shape, zygote, host }.serve(&socket));
    match served {
        Ok(()) => 0,
        Err(error) => {
            crate::log::warn(format_args!("keeper: {error}"));
            1
        }
    }
}

struct Keeper<'a> {
    shape: Shape,
    zygote: Option<OwnedFd>,
    host: &'a Host,
}

/// Waits until somebody says something: the service, init, or what waits in the sandbox; or until so long nobody did.
fn poll(
    socket: &OwnedFd,
    place: &Result<Place, Fault>,
    patience: Option<Duration>,
) -> std::io::Result<[bool; 3]> {
    let place = place.as_ref().ok();
    let sources = [Some(socket.as_fd()), place.map(Place::control), place.and_then(Place::waiting)];
    let mut polls: Vec<PollFd<'_>> =
        sources.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let patience = patience.and_then(|time| rustix::time::Timespec::try_from(time).ok());
    match rustix::event::poll(&mut polls, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut said = polls.iter().map(|poll| !poll.revents().is_empty());
    Ok(sources.map(|source| source.is_some() && said.next() == Some(true)))
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What a keeper waits for.
enum Came {
    Job(Box<Job>),
    /// Nobody needs it any more.
    End,
}

/// What came of waiting.
struct Waited {
    came: Came,
    /// When the sandbox was built.
    built: Option<Instant>,
    /// Whether an interpreter that was to wait in it is not there.
    lost: bool,
}

impl Keeper<'_> {
    fn serve(self, socket: &OwnedFd) -> std::io::Result<()> {
        sys::fs::set_nonblocking(socket.as_fd())?;
        // Only who may take it back gives way.
        let gives_way = rustix::process::geteuid().is_root();
        let usual = sys::process::nice()?;
        let mut spare = None;
        let mut teardown = None;
        for number in 1..=SANDBOXES_MAX {
            if gives_way {
                sys::process::set_nice(BUILDING_NICE)?;
            }
            let began = Instant::now();
            let mut place = self.make(self.takes_forks(), spare.take());
            let Waited { came, built, lost } = self.wait(socket, &mut place)?;
            if gives_way {
                sys::process::set_nice(usual)?;
                place = place.and_then(|place| place.set_nice(usual).map(|()| place));
            }
            let Came::Job(job) = came else {
                return place.map_or(Ok(()), Place::destroy).map_err(std::io::Error::other);
            };
            let mut measured =
                Measured { build: built.map(|at| us(at - began)), teardown, ..Measured::default() };
            let (result, place) = self.run(&job, socket.as_fd(), place, &mut measured);
            // Another keeper knows another zygote.
            let goes_on = number < SANDBOXES_MAX && place.is_ok() && !lost;
            tell(socket.as_fd(), &Told { result, measured }, goes_on)?;
            let answered = Instant::now();
            // After the answer: all inside is dead, and nobody waits for the rest.
            let place = place.map_err(std::io::Error::other)?;
            if goes_on {
                spare = place.dismantle().map_err(std::io::Error::other)?;
            } else {
                place.destroy().map_err(std::io::Error::other)?;
            }
            teardown = Some(us(answered.elapsed()));
        }
        Ok(())
    }

    fn setting(&self) -> Setting<'_> {
        Setting {
            host: self.host,
            image: &self.shape.image,
            allow_missing: self.shape.allow_missing.clone(),
            name: sandbox::cgroup::leaf_name(),
            amend: &std::convert::identity,
            serve: &drop,
            meanwhile: &|| {},
            fail_at: None,
        }
    }

    /// Whether forks of the zygote may enter its sandboxes.
    fn takes_forks(&self) -> bool {
        self.zygote.is_some() && matches!(self.shape.ahead, None | Some(Language::Python))
    }

    fn make(&self, joinable: bool, spare: Option<Leaf>) -> Result<Place, Fault> {
        let Shape { limits, allow_missing, .. } = &self.shape;
        let needs = Needs {
            limits: *limits,
            allow_missing: allow_missing.clone(),
            joinable,
            stays: false,
            egress: self.shape.egress,
        };
        Place::make(&needs, &self.setting(), spare)
    }

    /// Waits for the job, and tells when the sandbox is built and what is to wait in it does. A sandbox that cannot be had is told to
    /// the job.
    fn wait(&self, socket: &OwnedFd, place: &mut Result<Place, Fault>) -> std::io::Result<Waited> {
        let (mut built, mut lost) = (None, false);
        let mut ahead = match self.shape.ahead {
            Some(Language::Python) => {
                self.zygote.as_ref().map(|zygote| Ahead::Fork(zygote.as_fd(), &self.shape.modules))
            }
            Some(language) => Command::ahead(language, &self.shape.image).map(Ahead::Start),
            None => None,
        };
        loop {
            // What it imports is a tenant's packages: they may take as long as they like in a run, not here.
            let patience =
                (ahead.is_some() && !self.shape.modules.is_empty() && built.is_none()).then_some(IMPORTING);
            let [spoken, init, waiting] = poll(socket, place, patience)?;
            if !(spoken || init || waiting) && patience.is_some() {
                (ahead, lost) = (None, true);
                self.replace(place)?;
                continue;
            }
            if spoken {
                match receive(socket)? {
                    Some(came) => return Ok(Waited { came, built, lost }),
                    None => continue,
                }
            }
            if init && built.is_some() {
                // It has no reason to say anything, so it is gone; whoever leases this sees our end.
                return Ok(Waited { came: Came::End, built, lost });
            }
            let Ok(made) = &mut *place else { continue };
            let ready = match (waiting, init, &ahead) {
                (true, ..) => made.hear_waiting(),
                (_, true, Some(ahead)) => made.have_waiting(ahead).map(|()| false),
                (_, true, None) => made.await_built().map(|()| true),
                _ => Ok(false),
            };
            match (ready, ahead.is_some()) {
                (Ok(true), _) => {
                    built = Some(Instant::now());
                    match sys::socket::send(socket.as_fd(), &[BUILT], &[]) {
                        // Let go meanwhile.
                        Err(error) if is_gone(&error) => return Ok(Waited { came: Came::End, built, lost }),
                        other => other?,
                    }
                }
                (Ok(false), _) => {}
                // A sandbox where nothing waits serves as well, only slower; and if nothing can live in it, the run will say so.
                (Err(_), true) => {
                    (ahead, built, lost) = (None, None, true);
                    self.replace(place)?;
                }
                (Err(fault), false) => *place = Err(fault),
            }
        }
    }

    /// Makes another in which nothing waits.
    fn replace(&self, place: &mut Result<Place, Fault>) -> std::io::Result<()> {
        match std::mem::replace(place, self.make(false, None)) {
            Ok(failed) => failed.destroy().map_err(std::io::Error::other),
            Err(_) => Ok(()),
        }
    }

    /// Runs the job; returns also the place, to be destroyed.
    fn run(
        &self,
        job: &Job,
        socket: BorrowedFd<'_>,
        place: Result<Place, Fault>,
        measured: &mut Measured,
    ) -> (RunResult, Result<Place, Fault>) {
        let mut place = match place {
            Ok(place) => place,
            Err(fault) => return (self.failed(job, fault.clone()), Err(fault)),
        };
        let mut ran = self.attempt(job, socket, &mut place, self.zygote.as_ref());
        // A zygote that is gone took nothing of the run with it: a new sandbox runs it without one.
        if ran.is_err() && place.is_untouched() {
            let replaced = place.destroy().and_then(|()| self.make(false, None));
            place = match replaced {
                Ok(place) => place,
                Err(fault) => return (self.failed(job, fault.clone()), Err(fault)),
            };
            ran = self.attempt(job, socket, &mut place, None);
        }
        if let Ok(settled) = &ran {
            measured.fork = Some(us(settled.starting));
            measured.guest = Some(us(settled.watched.wall));
            measured.collect = Some(us(settled.collecting));
        }
        let result = match ran {
            Ok(settled) => match artifacts::keep(&job.artifacts, &settled.collected) {
                Ok(()) => {
                    result_of(job.id.clone(), job.created_at.clone(), &job.spec, &self.shape.image, &settled)
                }
                Err(error) => self.failed(
                    job,
                    Fault::new(FaultCode::ResourcesExhausted, format!("keep artifacts: {error}")),
                ),
            },
            Err(Refused::Fault(fault)) => self.failed(job, fault),
            // Admission finds these; what is left is a limit that only the file system knew.
            Err(Refused::Rejected(rejection)) => {
                let fault = Fault::new(FaultCode::Internal, rejection.to_string());
                self.failed(job, Fault { retry_safe: false, ..fault })
            }
        };
        (result, Ok(place))
    }

    fn attempt(
        &self,
        job: &Job,
        socket: BorrowedFd<'_>,
        place: &mut Place,
        zygote: Option<&OwnedFd>,
    ) -> Result<Settled, Refused> {
        let live = |tag| Some(Live { fd: socket, transform: Box::new(<[u8]>::to_vec), tag: Some(tag) });
        let io = Io {
            stdin: Stdin::Bytes(&job.spec.stdin),
            stdout: live(STDOUT),
            stderr: live(STDERR),
            // Whatever comes, or the end: the service wants it no more.
            cancel: Some(socket),
            gives_way: Some(LONG),
        };
        let command = Command::of(&job.spec, &self.shape.image)?;
        if self.shape.egress {
            let listener = place.listener()?;
            // A service that is gone serves nobody, and cancels.
            if let Err(error) = sys::socket::send(socket, &[LISTENS], &[listener.as_fd()])
                && !is_gone(&error)
            {
                return Err(Fault::new(FaultCode::ResourcesExhausted, error.to_string()).into());
            }
        }
        let zygote = zygote.filter(|_| job.spec.language == Language::Python).map(AsFd::as_fd);
        place.execute(&job.spec, &command, zygote, &|| {}, io)
    }

    fn failed(&self, job: &Job, fault: Fault) -> RunResult {
        result_of_fault(job.id.clone(), job.created_at.clone(), &job.spec, &self.shape.image, fault)
    }
}

/// `None` for what came too late: a cancellation of the run before.
fn receive(socket: &OwnedFd) -> std::io::Result<Option<Came>> {
    let mut packet = vec![0; json::PACKET_BYTES_MAX];
    let (length, descriptors) = sys::socket::receive(socket.as_fd(), &mut packet)?;
    match &packet[..length] {
        [] => Ok(Some(Came::End)),
        whole @ [RUN, ..] => Ok(Some(Came::Job(Box::new(json::read(whole, descriptors.first())?)))),
        [CANCEL] => Ok(None),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// Whether a message found nobody who needs it any more.
fn is_gone(error: &sys::Error) -> bool {
    matches!(error.errno, libc::EPIPE | libc::ECONNRESET)
}

/// Sends the result, and whether another sandbox is built for another run. A service that is gone needs none.
fn tell(socket: BorrowedFd<'_>, told: &Told, goes_on: bool) -> std::io::Result<()> {
    loop {
        match json::send(socket, [SETTLED, u8::from(goes_on)], told) {
            Err(error) if error.errno == libc::EAGAIN => {
                let mut poll =
                    [rustix::event::PollFd::from_borrowed_fd(socket, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut poll, None)?;
            }
            Err(error) if is_gone(&error) => return Ok(()),
            other => return Ok(other?),
        }
    }
}

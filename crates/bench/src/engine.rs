//! The engine without a service: a zygote and sandboxes built ahead, in this process, with plans that may lack layers.

use anyhow::{Context, ensure};
use model::{Language, Policy, RunId, RunRequest, RunSpec};
use rustix::event::{PollFd, PollFlags, poll};
use sandbox::cgroup::Leaf;
use sandbox::command::Command;
use sandbox::host::Host;
use sandbox::plan::{Needs, Plan};
use sandbox::run::{Place, Setting};
use sandbox::supervise::{Io, Stdin};
use sandbox::zygote::Work;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use sys::process::Cloned;
use worker::image::{DEFAULT_NAME, ImageStore};

/// How long a zygote may take to import what is to be warm.
const WARM_S: i64 = 30;

/// Everything that runs need. Its maker must have one thread, as all who clone.
pub struct Engine {
    host: Host,
    image: sandbox::Image,
    spec: RunSpec,
    zygote: OwnedFd,
    process: OwnedFd,
}

/// Where the time of one run went.
#[derive(Debug, Clone, Copy)]
pub struct Phases {
    /// Building its sandbox, which in a service is done before the run comes.
    pub build: Duration,
    /// From the order until all of the program is dead and its outcome known.
    pub run: Duration,
    /// Taking the sandbox down, which in a service is done after the answer.
    pub end: Duration,
}

impl Engine {
    /// Starts a zygote of the default image's Python; the inner error says why this machine can have none.
    pub fn start(data: &Path) -> anyhow::Result<Result<Self, String>> {
        let host = Host::detect();
        if !sandbox::zygote::possible(&host) {
            return Ok(Err("needs root: an ordinary user has no zygote".into()));
        }
        let image = ImageStore::open(data).find(DEFAULT_NAME)?.context("the default image")?;
        let image = worker::run::root_of(&image);
        let request = RunRequest {
            language: Some(Language::Python),
            code: "print(1)".to_owned(),
            ..RunRequest::default()
        };
        let spec = RunSpec::admit(request, &Policy::DEFAULT)?;
        let (zygote, theirs) = sys::socket::pair()?;
        let complaints = rustix::io::dup(rustix::stdio::stderr())?;
        match sys::process::clone_process(0, None)? {
            Cloned::Child => {
                drop(zygote);
                let error = sandbox::zygote::live(&image, &host, &Work::default(), &theirs, &complaints);
                eprintln!("bench: become a zygote: {error}");
                sys::process::exit_now(1)
            }
            Cloned::Parent { pidfd, .. } => {
                let mut ready = [PollFd::new(&zygote, PollFlags::IN)];
                let patience = rustix::time::Timespec { tv_sec: WARM_S, tv_nsec: 0 };
                ensure!(poll(&mut ready, Some(&patience))? == 1, "the zygote does not become ready");
                Ok(Ok(Self { host, image, spec, zygote, process: pidfd }))
            }
        }
    }

    /// Builds a sandbox by the plan that `amend` makes of the usual one, and has the zygote fork into it. `spare` is the control group
    /// of the sandbox before, as a keeper has it.
    pub fn run(&self, amend: &dyn Fn(Plan) -> Plan, spare: &mut Option<Leaf>) -> anyhow::Result<Phases> {
        let needs = Needs {
            limits: self.spec.limits,
            allow_missing: [].into(),
            joinable: true,
            stays: false,
            egress: false,
        };
        let setting = Setting {
            host: &self.host,
            image: &self.image,
            allow_missing: [].into(),
            name: sandbox::cgroup::leaf_name(),
            amend,
            serve: &drop,
            meanwhile: &|| {},
            fail_at: None,
        };
        let command = Command::of(&self.spec, &self.image)?;
        let began = Instant::now();
        let mut place = Place::make(&needs, &setting, spare.take())?;
        place.await_built()?;
        let built = Instant::now();
        let io = Io { stdin: Stdin::Bytes(&[]), stdout: None, stderr: None, cancel: None, gives_way: None };
        let ran = place.execute(&self.spec, &command, Some(self.zygote.as_fd()), &|| {}, io);
        let ended = Instant::now();
        *spare = place.dismantle()?;
        let gone = Instant::now();
        let id = RunId::from_random(sys::fs::random()?);
        let result = worker::run::result_of(id, worker::run::now(), &self.spec, &self.image, &ran?);
        ensure!(result.stdout == "1\n", "{result:?}");
        Ok(Phases { build: built - began, run: ended - built, end: gone - ended })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let ended = sys::process::kill(self.process.as_fd(), rustix::process::Signal::KILL.as_raw())
            .map_err(std::io::Error::from)
            .and_then(|()| {
                Ok(rustix::process::waitid(
                    rustix::process::WaitId::PidFd(self.process.as_fd()),
                    rustix::process::WaitIdOptions::EXITED,
                )?)
            });
        if let Err(error) = ended {
            eprintln!("bench: end the zygote: {error}");
        }
    }
}

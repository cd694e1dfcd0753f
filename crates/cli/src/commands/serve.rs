//! `fireclay serve`: starts the spawner, then reads settings and secrets, then listens. And the spawner itself.

mod model;
#[cfg_attr(not(feature = "secrets"), path = "serve/secrets_left_out.rs")]
mod secrets;
#[cfg(feature = "cluster")]
pub mod working;

use crate::args::ServeArguments;
use crate::commands::image::ensure;
use crate::commands::run::usually_missing;
use crate::env::{self, Settings as Surroundings};
use crate::local::{Registration, new_token};
use crate::serving::{SERVER_FILE, Serving};
use ::model::RunId;
use anyhow::Context;
use sandbox::run::Refused;
use server::doctor::DoctorCommand;
use server::local::Local;
use server::receipts::Signer;
use server::service::{self, Parts, Service};
use server::settings::Settings;
use server::traces::Traces;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Durability, Options, Store, StoreError};
use tokio::runtime::Runtime;
use worker::image::environment::EnvironmentStore;
use worker::image::packages::PackageStore;
use worker::image::pythons::Pythons;
use worker::log;
use worker::machine::{self, Machine};
use worker::pool::{Pool, SpawnerCommand};
use worker::proxies::Proxies;
use worker::template::TemplateStore;

/// Where artifacts lie between a sandbox's end and the store.
const INCOMING: &str = "incoming";
/// Where the files of sessions wait that ended.
const SESSIONS: &str = "sessions";
/// Where a local server listens: wherever there is room.
const LOCAL_LISTEN: &str = "127.0.0.1:0";
/// How long a local server waits for a data directory: as long as its predecessor may take to end.
const SUCCESSION: Duration = Duration::from_secs(60);
/// How often it looks.
const SUCCESSION_LOOK: Duration = Duration::from_millis(20);
/// Stack of a thread that serves: programs of some kilobytes are checked on it, and on a stack of their own beyond that.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// A service that has everything but a listener.
pub struct Started {
    /// Its threads.
    pub runtime: Runtime,
    /// Itself.
    pub service: Arc<Service>,
    /// Keeps the image from being removed.
    _hold: File,
}

/// Serves until it is told to end, or as a local server until it is of no use.
pub fn serve(arguments: &ServeArguments, surroundings: &Surroundings) -> anyhow::Result<u8> {
    // We end by signals; a program that waits for its own in another way starts us with them blocked.
    sys::signal::unblock()?;
    log::of_a_service();
    let registration = arguments.local.then(|| alone(surroundings)).transpose()?;
    let Started { runtime, service, _hold } =
        start(|| settings_of(arguments), surroundings, registration.is_some())?;
    let server_file = surroundings.data.join(SERVER_FILE);
    let ready = |address| announce(&server_file, address, &service, registration.as_ref());
    // The next one may start from now on; what it waits for is the data directory, which is ours until our end.
    let leaving = || {
        drop(std::fs::remove_file(&server_file));
        registration.iter().for_each(Registration::remove);
    };
    runtime.block_on(server::serve(service.clone(), ready, leaving))?;
    Ok(0)
}

/// What makes this process a server of its own, not a part of the terminal or the directory that it was started from.
fn alone(surroundings: &Surroundings) -> anyhow::Result<Registration> {
    match rustix::process::setsid() {
        // One who was started by hand leads a group already.
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error).context("leave the terminal"),
    }
    let registration = Registration::new(surroundings)?;
    rustix::process::chdir("/").context("leave the directory")?;
    Ok(registration)
}

/// Starts a service on the data directory: the spawner first, then settings, image, records.
pub fn start(
    settings: impl FnOnce() -> anyhow::Result<Settings>,
    surroundings: &Surroundings,
    local: bool,
) -> anyhow::Result<Started> {
    let program = PathBuf::from("/proc/self/exe");
    // Before anything secret is read, and before there is a second thread.
    let command = SpawnerCommand { program: program.clone(), args: vec!["spawner".to_owned()] };
    let pool = Pool::start(command).context("start the spawner")?;
    let command = SpawnerCommand { program: program.clone(), args: vec!["egress".to_owned()] };
    let proxies = Proxies::start(command).context("start the proxies")?;
    // Connections and sessions take some of ours; the spawner and what it makes keep the usual limit.
    sys::limits::raise_open_files().context("raise the limit of open files")?;
    let mut settings = settings()?;
    proxies.set_policy(settings.egress.policy().map_err(anyhow::Error::msg)?);
    let (image, _hold) = ensure(&settings.image, surroundings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()
        .context("start threads")?;
    let entered = runtime.enter();
    let data = &surroundings.data;
    let durability = if settings.fsync { Durability::Fsync } else { Durability::Commit };
    let patience = if local { SUCCESSION } else { Duration::ZERO };
    let store = open_store(data, Options { durability, ..Options::default() }, patience)?;
    let incoming = fresh_directory(&data.join(INCOMING))?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let secrets = secrets::open(data, &settings, (&store, &proxies), &image.rootfs)?;
    let python = settings.python.pythons();
    let machine = Machine::new(machine::Parts {
        pythons: Pythons::new(image.clone(), data, surroundings.path.clone(), python),
        pool,
        proxies,
        image,
        environments: EnvironmentStore::open(data),
        packages: PackageStore::open(data, &surroundings.path),
        templates: TemplateStore::open(data, &surroundings.path),
        install: settings.install().map_err(anyhow::Error::msg)?,
        artifacts: incoming,
        places: settings.places(processors, memory_bytes()),
        waiting_max: settings.queue,
        waiting_bytes_max: settings.queue_bytes,
        size: settings.pool_size(),
        limits: settings.policy().limits,
        allow_missing: usually_missing().into_iter().chain(settings.allow_missing.iter().copied()).collect(),
    });
    for warm in &settings.pool.warm {
        // One that is not installed is started when it is, by its first run.
        machine
            .warm(&warm.template, warm.waiting)
            .map_err(Refused::from)
            .with_context(|| format!("have {} warm (pool.warm)", warm.template))?;
    }
    let signer =
        settings.receipts.then(|| Signer::open(data)).transpose().context("read the receipts' key")?;
    let args = vec!["doctor".into(), "--json".into(), "--data".into(), data.clone().into()];
    let doctor = DoctorCommand { program, args };
    let local = local.then(new_token).transpose()?.map(|token| Local::new(token, settings.local.idle_ms));
    let model = model::of(&settings.model, data)?;
    let session_files = data.join(SESSIONS);
    std::fs::create_dir_all(&session_files).with_context(|| format!("make {}", session_files.display()))?;
    let (collector, headers) = env::collector();
    if settings.traces.otlp.endpoint.is_empty() {
        settings.traces.otlp.endpoint = collector.unwrap_or_default();
    }
    let mut traces = Traces::new(&settings.traces, (&headers, secrets::tls()?), model::keys(data)?)
        .map_err(anyhow::Error::msg)?;
    traces.price = model::dollars;
    let service = Service::new(Parts {
        settings,
        machine,
        store,
        alone_missing: usually_missing(),
        signer,
        doctor,
        session_files,
        local,
        model,
        traces,
        secrets,
    });
    drop(entered);
    let elsewhere = runtime.block_on(join(&service))?;
    let interrupting = async { service.store.interrupt_unfinished_but(service::now_ms(), elsewhere).await };
    let interrupted = runtime.block_on(interrupting)?;
    if !interrupted.is_empty() {
        let count = interrupted.len();
        log::warn(format_args!("{count} runs were interrupted by the end of the service before this"));
    }
    let orphans = runtime.block_on(service.end_orphans()).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    runtime.block_on(service.clear_strays()).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    if orphans > 0 {
        log::warn(format_args!("{orphans} sessions ended with the service before this, which died"));
    }
    Ok(Started { runtime, service, _hold })
}

/// Joins the cluster that the settings name, if they do; returns the runs that go on there.
#[cfg(feature = "cluster")]
async fn join(service: &Arc<Service>) -> anyhow::Result<BTreeSet<RunId>> {
    match service.settings.cluster.url.as_str() {
        "" => Ok(BTreeSet::new()),
        _ => server::cluster::join(service).await.context("join the cluster"),
    }
}

/// Says that this build joins none, if the settings name a cluster.
#[cfg(not(feature = "cluster"))]
async fn join(service: &Arc<Service>) -> anyhow::Result<BTreeSet<RunId>> {
    let url = &service.settings.cluster.url;
    if url.is_empty() { Ok(BTreeSet::new()) } else { Err(crate::args::left_out("cluster")) }
}

fn settings_of(arguments: &ServeArguments) -> anyhow::Result<Settings> {
    let file = arguments.config.as_deref().map(|path| {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        anyhow::Ok((path.display().to_string(), text))
    });
    let file = file.transpose()?;
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let listen = arguments.listen.clone().or_else(|| arguments.local.then(|| LOCAL_LISTEN.to_owned()));
    let listen = listen.map(|address| ("listen".to_owned(), address));
    let quoted = |name: &str, value: String| (name.to_owned(), format!("{value:?}"));
    let cluster = arguments.cluster.clone().map(|url| quoted("cluster.url", url));
    let credentials = arguments.credentials.as_ref().map(|path| path.display().to_string());
    let credentials = credentials.map(|path| quoted("cluster.credentials", path));
    let said = arguments.set.iter().cloned();
    let flags: Vec<_> = said.chain(listen).chain(cluster).chain(credentials).collect();
    Ok(Settings::resolve(file, &env::of_the_service(), &flags)?)
}

/// An empty directory: what a predecessor left in it is nobody's.
fn fresh_directory(path: &Path) -> anyhow::Result<PathBuf> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("empty {}", path.display()));
        }
        _ => std::fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?,
    }
    Ok(path.to_owned())
}

/// Opens the records. Of a data directory that another process has, after so long at most: a local server's predecessor is ending.
fn open_store(data: &Path, options: Options, patience: Duration) -> anyhow::Result<Store> {
    let until = Instant::now() + patience;
    loop {
        match Store::open(data, options.clone()) {
            Err(StoreError::InUse { .. }) if Instant::now() < until => std::thread::sleep(SUCCESSION_LOOK),
            Err(error @ StoreError::InUse { .. }) if is_local(data) => {
                return Err(error)
                    .context("`fireclay local stop` ends the local server, which has the data directory");
            }
            done => return Ok(done?),
        }
    }
}

fn is_local(data: &Path) -> bool {
    Serving::read(data).is_some_and(|serving| serving.token_file.is_some())
}

/// Says where the service is: to people, and to other commands of this machine.
fn announce(
    file: &Path,
    address: std::net::SocketAddr,
    service: &Service,
    registration: Option<&Registration>,
) {
    // The token first: whoever finds the service finds it too.
    let token = registration.zip(service.local.as_ref());
    let told = token.map_or(Ok(()), |(registration, local)| registration.write(address, local.token()));
    let image = service.settings.image.clone();
    let serving = Serving::here(address, image, registration.map(Registration::token_file));
    let written = told.and_then(|()| serde_json::to_vec(&serving).map_err(std::io::Error::from));
    if let Err(error) = written.and_then(|text| replace(file, &text)) {
        log::warn(format_args!("write {}: {error}", file.display()));
    }
    println!("fireclay serves http://{address} (docs at http://{address}/docs)");
}

/// Puts a file in place of what is there: who reads it meanwhile reads the one or the other, whole.
fn replace(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let unfinished = file.with_extension("new");
    std::fs::write(&unfinished, content)?;
    std::fs::rename(&unfinished, file)
}

/// Clones sandboxes for the service on standard input. Its keepers return here too.
pub fn spawner() -> anyhow::Result<u8> {
    log::of_a_service();
    let code = worker::spawner::live(socket_on_stdin()?)?;
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Serves the proxies of sandboxes for the service on standard input.
pub fn egress() -> anyhow::Result<u8> {
    log::of_a_service();
    worker::proxies::live(socket_on_stdin()?).context("egress")?;
    Ok(0)
}

fn socket_on_stdin() -> anyhow::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).context("take the socket")?;
    // Only the copy is left, so that the end of the service is the end of the socket.
    let null = std::fs::File::open("/dev/null").context("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("close standard input")?;
    Ok(socket)
}

/// Memory of the machine (sysinfo(2)).
fn memory_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram * u64::from(system.mem_unit)
}

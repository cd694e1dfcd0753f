//! `fireclay serve`: starts the spawner, then reads settings and secrets, then listens. And the spawner itself.

use crate::args::ServeArguments;
use crate::client;
use crate::commands::image::ensure;
use crate::commands::run::usually_missing;
use crate::env::{self, Settings as Surroundings};
use anyhow::Context;
use sandbox::run::Refused;
use server::doctor::DoctorCommand;
use server::receipts::Signer;
use server::service::{self, Parts, Service};
use server::settings::Settings;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Durability, Options, Store};
use tokio::runtime::Runtime;
use worker::image::environment::EnvironmentStore;
use worker::machine::{self, Machine};
use worker::pool::{Pool, SpawnerCommand};

/// Where artifacts lie between a sandbox's end and the store.
const INCOMING: &str = "incoming";
/// Where the files of sessions wait that ended.
const SESSIONS: &str = "sessions";

/// A service that has everything but a listener.
pub struct Started {
    /// Its threads.
    pub runtime: Runtime,
    /// Itself.
    pub service: Arc<Service>,
    /// Keeps the image from being removed.
    _hold: File,
}

/// Serves until it is told to end.
pub fn serve(arguments: &ServeArguments, surroundings: &Surroundings) -> anyhow::Result<u8> {
    let Started { runtime, service, _hold } = start(|| settings_of(arguments), surroundings)?;
    let server_file = surroundings.data.join(client::SERVER_FILE);
    let image = service.settings.image.clone();
    let ready = |address| announce(&server_file, address, image);
    let parent_is_gone = parent_is_gone(arguments.until_stdin_ends).context("start a thread")?;
    let done = runtime.block_on(server::serve(service.clone(), ready, parent_is_gone));
    drop(std::fs::remove_file(&server_file));
    done?;
    Ok(0)
}

/// Completes when standard input ends, if that is wanted: whoever holds its other end is gone then, by whatever death.
fn parent_is_gone(wanted: bool) -> std::io::Result<impl Future<Output = ()>> {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let held = if wanted {
        // A thread of its own, which nobody waits for: reading cannot be interrupted.
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            // An end by an error is one too.
            drop((std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()), sender));
        })?;
        None
    } else {
        Some(sender)
    };
    Ok(async move {
        // Without the thread there is no end.
        let _held = held;
        drop(receiver.await);
    })
}

/// Starts a service on the data directory: the spawner first, then settings, image, records.
pub fn start(
    settings: impl FnOnce() -> anyhow::Result<Settings>,
    surroundings: &Surroundings,
) -> anyhow::Result<Started> {
    let program = PathBuf::from("/proc/self/exe");
    // Before anything secret is read, and before there is a second thread.
    let command = SpawnerCommand { program: program.clone(), args: vec!["spawner".to_owned()] };
    let pool = Pool::start(command).context("start the spawner")?;
    let settings = settings()?;
    let (image, _hold) = ensure(&settings.image, surroundings)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start threads")?;
    let entered = runtime.enter();
    let data = &surroundings.data;
    let durability = if settings.fsync { Durability::Fsync } else { Durability::Commit };
    let store = Store::open(data, Options { durability, ..Options::default() })?;
    let incoming = fresh_directory(&data.join(INCOMING))?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = Machine::new(machine::Parts {
        pool,
        image,
        environments: EnvironmentStore::open(data),
        artifacts: incoming,
        places: settings.places(processors, memory_bytes()),
        waiting_max: settings.queue,
        waiting_bytes_max: settings.queue_bytes,
        size: settings.pool_size(),
        limits: settings.policy().limits,
        allow_missing: usually_missing().into_iter().chain(settings.allow_missing.iter().copied()).collect(),
    });
    for template in &settings.pool.warm {
        // One that is not installed is started when it is, by its first run.
        machine
            .warm(template)
            .map_err(Refused::from)
            .with_context(|| format!("have {template} warm (pool.warm)"))?;
    }
    let signer =
        settings.receipts.then(|| Signer::open(data)).transpose().context("read the receipts' key")?;
    let args = vec!["doctor".into(), "--json".into(), "--data".into(), data.clone().into()];
    let doctor = DoctorCommand { program, args };
    let session_files = data.join(SESSIONS);
    std::fs::create_dir_all(&session_files).with_context(|| format!("make {}", session_files.display()))?;
    let service = Service::new(Parts {
        settings,
        machine,
        store,
        alone_missing: usually_missing(),
        signer,
        doctor,
        session_files,
    });
    drop(entered);
    let interrupted =
        runtime.block_on(async { service.store.interrupt_unfinished(service::now_ms()).await })?;
    if !interrupted.is_empty() {
        let count = interrupted.len();
        eprintln!("fireclay: {count} runs were interrupted by the end of the service before this");
    }
    let orphans = runtime.block_on(service.end_orphans()).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    runtime.block_on(service.clear_strays()).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    if orphans > 0 {
        eprintln!("fireclay: {orphans} sessions ended with the service before this, which died");
    }
    Ok(Started { runtime, service, _hold })
}

fn settings_of(arguments: &ServeArguments) -> anyhow::Result<Settings> {
    let file = arguments.config.as_deref().map(|path| {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        anyhow::Ok((path.display().to_string(), text))
    });
    let file = file.transpose()?;
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let listen = arguments.listen.clone().map(|address| ("listen".to_owned(), address));
    let flags: Vec<_> = arguments.set.iter().cloned().chain(listen).collect();
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

/// Says where the service is: to people, and to other commands of this machine.
fn announce(file: &Path, address: std::net::SocketAddr, image: String) {
    let serving = client::Serving::here(address, image);
    let written = serde_json::to_vec(&serving).map_err(std::io::Error::from);
    if let Err(error) = written.and_then(|text| std::fs::write(file, text)) {
        eprintln!("fireclay: write {}: {error}", file.display());
    }
    println!("fireclay serves http://{address} (docs at http://{address}/docs)");
}

/// Clones sandboxes for the service on standard input. Its keepers return here too.
pub fn spawner() -> anyhow::Result<u8> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).context("take the socket")?;
    // Only the copy is left, so that the end of the service is the end of the socket.
    let null = std::fs::File::open("/dev/null").context("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("close standard input")?;
    let code = worker::spawner::live(socket)?;
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Memory of the machine (sysinfo(2)).
fn memory_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram * u64::from(system.mem_unit)
}

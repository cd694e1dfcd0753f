//! Runs one [`Order`] from standard input and prints its `RunResult` as JSON: the way of `fireclay run`, with a plan that tests
//! may change. Exits 2 if the order was refused by us or is wrong, with the reason on standard error. The last line of standard
//! error is a [`Report`] of what the run left in this process. Arguments after the first are for others to see.

use anyhow::Context as _;
use fireclay_tests::census::{self, Own, Report};
use fireclay_tests::naive::{self, Weaknesses};
use fireclay_tests::{Order, show_host, weaken};
use model::request::FileContent;
use model::{InputFile, Policy, RunId, RunSpec};
use sandbox::forward::Live;
use sandbox::host::Host;
use sandbox::run::{Refused, Setting};
use sandbox::supervise::{Io, Stdin};
use serde::Deserialize as _;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> anyhow::Result<()> {
    let data = PathBuf::from(std::env::args().nth(1).ok_or(anyhow::anyhow!("usage: driver DATA < ORDER"))?);
    let order = Order::deserialize(&mut serde_json::Deserializer::from_reader(std::io::stdin().lock()))?;
    let Order {
        mut request,
        files,
        without,
        forked,
        naive,
        shared,
        fail_at,
        allow_missing,
        interactive,
        careless,
    } = order;
    request.files.extend(files.into_iter().map(|(path, bytes)| InputFile {
        path,
        content: FileContent::Bytes(bytes),
        executable: false,
    }));
    let spec = RunSpec::admit(request, &Policy::DEFAULT)?;
    let store = worker::image::ImageStore::open(&data);
    let image = store.find("default")?.ok_or(anyhow::anyhow!("the tests build the image first"))?;
    let image = worker::run::root_of(&image);
    let host = Host::detect();
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    if without.contains(&"pivot-root") {
        let one_mount = without.contains(&"mount-directories");
        show_host(shared.as_deref(), one_mount)
            .context("show the host to a sandbox without a root of its own")?;
    }
    let leak = careless.then(|| std::fs::File::open("/")).transpose()?;
    leak.as_ref().map(|leak| rustix::io::fcntl_setfd(leak, rustix::io::FdFlags::empty())).transpose()?;
    let amend = move |plan: sandbox::plan::Plan| weaken(plan, &without);
    let id = RunId::from_random(sys::fs::random()?);
    let name = sandbox::cgroup::leaf_name();
    let setting = Setting {
        host: &host,
        image: &image,
        allow_missing: allow_missing.into_iter().collect(),
        name: name.clone(),
        amend: &amend,
        serve: &drop,
        meanwhile: &|| {},
        fail_at,
    };
    let stdin =
        if interactive { Stdin::Descriptor(rustix::stdio::stdin()) } else { Stdin::Bytes(&spec.stdin) };
    let live = || Live { fd: rustix::stdio::stderr(), transform: Box::new(<[u8]>::to_vec), tag: None };
    let io = Io {
        stdin,
        stdout: interactive.then(live),
        stderr: interactive.then(live),
        cancel: None,
        gives_way: None,
    };
    let created_at = worker::run::now();
    census::adopt_orphans();
    let (before, reads, started) = (Own::take(), census::reads(), Instant::now());
    let settled = if forked {
        fireclay_tests::forked::run(&spec, &setting, io)
    } else if naive.is_empty() {
        sandbox::run::run(&spec, &setting, io)
    } else {
        naive::run(&spec, &setting, &Weaknesses::of(&naive))
    };
    let whole_ms = started.elapsed().as_millis() as u64;
    let after = census::reads();
    let (reads, read_bytes) = (after.0 - reads.0, after.1 - reads.1);
    let result = match settled {
        Ok(settled) => worker::run::result_of(id, created_at, &spec, &image, &settled),
        Err(Refused::Fault(fault)) => worker::run::result_of_fault(id, created_at, &spec, &image, fault),
        Err(Refused::Rejected(rejection)) => anyhow::bail!("{rejection}"),
    };
    println!("\n{}", serde_json::to_string(&result)?);
    let mut left = Own::take().since(&before);
    left.extend(census::cgroups(&name).into_iter().map(|path| format!("control group {}", path.display())));
    let report = Report { left, peak_bytes: census::peak_bytes(), reads, read_bytes, whole_ms };
    census::bury_children();
    eprintln!("\n{}", serde_json::to_string(&report)?);
    Ok(())
}

//! Runs one [`Order`] from standard input and prints its `RunResult` as JSON: the way of `fireclay run`, with a plan that tests
//! may change. Exits 2 if the order was refused by us or is wrong, with the reason on standard error.

use fireclay_tests::Order;
use model::request::FileContent;
use model::{InputFile, Policy, RunId, RunSpec};
use sandbox::host::Host;
use sandbox::run::{Refused, Setting};
use sandbox::supervise::{Io, Stdin};
use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let data = PathBuf::from(std::env::args().nth(1).ok_or(anyhow::anyhow!("usage: driver DATA < ORDER"))?);
    let Order { mut request, files, without, fail_at, allow_missing } = serde_json::from_reader(std::io::stdin().lock())?;
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
    let amend = move |plan: sandbox::plan::Plan| plan.without(&without);
    let id = RunId::from_random(sys::fs::random()?);
    let setting = Setting {
        host: &host,
        image: &image,
        allow_missing: allow_missing.into_iter().collect(),
        name: format!("fireclay-{id}"),
        amend: &amend,
        fail_at,
    };
    let io = Io { stdin: Stdin::Bytes(&spec.stdin), stdout: None, stderr: None, cancel: None };
    let created_at = worker::run::now();
    let result = match sandbox::run::run(&spec, &setting, io) {
        Ok(settled) => worker::run::result_of(id, created_at, &spec, &image, &settled),
        Err(Refused::Fault(fault)) => worker::run::result_of_fault(id, created_at, &spec, &image, fault),
        Err(Refused::Rejected(rejection)) => anyhow::bail!("{rejection}"),
    };
    println!("{}", serde_json::to_string(&result)?);
    Ok(())
}

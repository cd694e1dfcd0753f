//! Compiles the system-call policies in `policy/seccomp` to constant tables in `OUT_DIR/seccomp.rs`. Decides nothing itself.

#[path = "src/seccomp/compile.rs"]
mod compile;
#[path = "src/seccomp/policy.rs"]
mod policy;

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policy/seccomp");

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/seccomp/compile.rs");
    println!("cargo::rerun-if-changed=src/seccomp/policy.rs");
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // `cargo::error` shows the line as the error of this package, without the noise of a panic.
            problem.lines().for_each(|line| println!("cargo::error={line}"));
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let numbers =
        policy::parse_numbers(&read("syscalls-x86_64.toml")?).map_err(within("syscalls-x86_64.toml"))?;
    let (job, init) = (parse("job.toml", &numbers)?, parse("init.toml", &numbers)?);
    let zygote = job.clone().replaced_by(parse("zygote.toml", &numbers)?);
    let stay = job.clone().replaced_by(parse("stay.toml", &numbers)?);
    let proxy = parse("proxy.toml", &numbers)?;
    let all = [("JOB", job), ("INIT", init), ("ZYGOTE", zygote), ("STAY", stay), ("PROXY", proxy)];
    let tables = all.iter().map(|(name, policy)| table(name, policy)).collect::<Result<String, _>>()?;
    let directory = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: cargo runs this program")?;
    let path = Path::new(&directory).join("seccomp.rs");
    fs::write(&path, tables).map_err(within(&path.display().to_string()))
}

fn parse(file: &str, numbers: &policy::Numbers) -> Result<policy::Policy, String> {
    policy::Policy::parse(&read(file)?, numbers).map_err(within(file))
}

/// Renders one policy as a `static` of instructions.
fn table(name: &str, policy: &policy::Policy) -> Result<String, String> {
    let program = compile::compile(policy).map_err(within(name))?;
    let mut text = format!("static {name}: [libc::sock_filter; {}] = [\n", program.len());
    for compile::Instruction { code, jt, jf, k } in program {
        writeln!(text, "    libc::sock_filter {{ code: {code:#x}, jt: {jt}, jf: {jf}, k: {k:#x} }},")
            .map_err(within(name))?;
    }
    text.push_str("];\n");
    Ok(text)
}

fn read(file: &str) -> Result<String, String> {
    let path = format!("{POLICIES}/{file}");
    println!("cargo::rerun-if-changed={path}");
    fs::read_to_string(&path).map_err(within(&path))
}

/// Names the file an error is about.
fn within<E: Display>(file: &str) -> impl Fn(E) -> String {
    move |error| format!("policy/seccomp: {file}: {error}")
}

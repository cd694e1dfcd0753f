//! One run on this machine without a pool: image and host found, sandbox made, and the settled run told as a [`RunResult`].

use crate::image::Image;
use crate::installer::compile::Refused;
use model::result::{Artifact, Digests, RunState, Usage};
use model::{Fault, Finding, Isolation, Outcome, RunId, RunResult, RunSpec};
use sandbox::run::Settled;
use sandbox::{files::Left, seccomp};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The image as a sandbox needs it.
pub fn root_of(image: &Image) -> sandbox::Image {
    let path = |runtime: &crate::image::Runtime| runtime.path.to_string_lossy().into_owned();
    let runtimes = &image.manifest.runtimes;
    let mut root = sandbox::Image::of_paths(
        image.rootfs.clone(),
        image.skeleton.clone(),
        runtimes.python.as_ref().map(path),
        runtimes.node.as_ref().map(path),
        Some(path(&runtimes.bash)),
    );
    root.digest.clone_from(&image.digest);
    // The interpreter's own directory first: `python3` is then found where it lives, and so are scripts installed beside it.
    if let Some(directory) = runtimes.python.as_ref().and_then(|python| python.path.parent()) {
        let directory = directory.to_string_lossy();
        if !root.path.split(':').any(|part| part == directory) {
            root.path = format!("{directory}:{}", root.path);
        }
    }
    root
}

/// Now, as RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A time in milliseconds since 1970 as RFC 3339 in UTC; times beyond the year 9999 are cut to it.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .unwrap_or(jiff::Timestamp::MAX)
        .strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
        .to_string()
}

/// Tells a settled run as its result.
pub fn result_of(
    id: RunId,
    created_at: String,
    spec: &RunSpec,
    image: &sandbox::Image,
    settled: &Settled,
) -> RunResult {
    let watched = &settled.watched;
    let said = &watched.said;
    let mut result = RunResult {
        outcome: Some(settled.judgement.outcome),
        exit_code: settled.judgement.exit_code,
        signal: settled.judgement.signal.map(sys::signal::name),
        stdout: watched.stdout.text(),
        stderr: watched.stderr.text(),
        stdout_truncated: watched.stdout.dropped_bytes() > 0,
        stderr_truncated: watched.stderr.dropped_bytes() > 0,
        limits_hit: settled.judgement.limits_hit.clone(),
        result: said.result.clone(),
        displays: said.displays.clone(),
        error: said.error.clone(),
        artifacts: artifacts_of(&settled.collected.files),
        usage: Usage {
            wall_ms: rounded_ms(watched.wall.as_micros()),
            cpu_ms: rounded_ms(u128::from(settled.cpu_us)),
            memory_peak_bytes: watched.memory_peak_bytes,
            queue_ms: 0,
        },
        ..empty(id, created_at, spec, settled.isolation.clone())
    };
    result.digests = digests_of(spec, image, &result);
    result
}

/// Tells a run that failed by our fault.
pub fn result_of_fault(
    id: RunId,
    created_at: String,
    spec: &RunSpec,
    image: &sandbox::Image,
    fault: Fault,
) -> RunResult {
    let isolation = Isolation { level: "default".into(), layers: Vec::new(), missing: Vec::new() };
    let mut result = RunResult { fault: Some(fault), ..empty(id, created_at, spec, isolation) };
    result.digests = digests_of(spec, image, &result);
    result
}

/// Tells a run that was taken back before it began.
pub fn result_of_cancelled(
    id: RunId,
    created_at: String,
    spec: &RunSpec,
    image: &sandbox::Image,
) -> RunResult {
    let isolation = Isolation { level: "default".into(), layers: Vec::new(), missing: Vec::new() };
    let mut result =
        RunResult { outcome: Some(Outcome::Cancelled), ..empty(id, created_at, spec, isolation) };
    result.digests = digests_of(spec, image, &result);
    result
}

/// Tells a run that the static check refused: it never began.
pub fn result_of_denied(
    id: RunId,
    created_at: String,
    spec: &RunSpec,
    image: &sandbox::Image,
    findings: Vec<Finding>,
) -> RunResult {
    let mut result = result_of_cancelled(id, created_at, spec, image);
    result.outcome = Some(Outcome::Denied);
    result.findings = findings;
    result.digests.outputs = outputs_digest(&result);
    result
}

/// Tells a run whose program its compiler refused: it never began.
pub fn result_of_refused(
    id: RunId,
    created_at: String,
    spec: &RunSpec,
    image: &sandbox::Image,
    refused: Refused,
) -> RunResult {
    let mut result = result_of_cancelled(id, created_at, spec, image);
    result.outcome = Some(Outcome::SetupFailed);
    result.exit_code = refused.exit_code;
    result.stdout = refused.stdout;
    result.stderr = refused.stderr;
    result.limits_hit = refused.limits_hit;
    result.digests.outputs = outputs_digest(&result);
    result
}

fn empty(id: RunId, created_at: String, spec: &RunSpec, isolation: Isolation) -> RunResult {
    RunResult {
        id,
        state: RunState::Settled,
        outcome: None,
        fault: None,
        exit_code: None,
        signal: None,
        stdout: String::new(),
        stderr: String::new(),
        stdout_truncated: false,
        stderr_truncated: false,
        limits_hit: Vec::new(),
        result: None,
        displays: Vec::new(),
        error: None,
        artifacts: Vec::new(),
        findings: Vec::new(),
        egress: Vec::new(),
        session: None,
        state_lost: false,
        language: spec.language,
        created_at,
        metadata: spec.metadata.clone(),
        usage: Usage::default(),
        isolation,
        digests: Digests::default(),
        receipt: None,
    }
}

/// Files under names that are text. Of names that become the same, the later ones get a number, so that each file can be fetched.
fn artifacts_of(files: &[Left]) -> Vec<Artifact> {
    let mut taken = BTreeSet::new();
    let mut artifact = |left: &Left| {
        let name = left.path.to_string_lossy();
        let numbered = (2..).map(|number| format!("{name}~{number}"));
        let mut free = std::iter::once(name.to_string()).chain(numbered);
        let path = free.find(|path| taken.insert(path.clone())).expect("there are more numbers than files");
        artifact_of(left, path)
    };
    files.iter().map(&mut artifact).collect()
}

fn artifact_of(left: &Left, path: String) -> Artifact {
    let mime = mime_guess::from_path(&left.path).first_or_octet_stream().to_string();
    Artifact { path, bytes: left.bytes, sha256: hex(&left.sha256), mime }
}

/// Microseconds as milliseconds, never 0 for something.
fn rounded_ms(us: u128) -> u64 {
    u64::try_from((us + 500) / 1000).unwrap_or(u64::MAX).max(u64::from(us > 0))
}

/// The receipt's digests. Each list is hashed with lengths before its parts, so that no two runs share one by shifting bytes.
fn digests_of(spec: &RunSpec, image: &sandbox::Image, result: &RunResult) -> Digests {
    let mut inputs = Parts::default();
    inputs.add(&spec.stdin).add(spec.file_name.as_bytes()).add(spec.cwd.as_bytes());
    spec.args.iter().for_each(|arg| {
        inputs.add(arg.as_bytes());
    });
    spec.env.iter().for_each(|(name, value)| {
        inputs.add(name.as_bytes()).add(value.as_bytes());
    });
    spec.files.iter().for_each(|file| {
        inputs.add(file.path.as_bytes()).add(file.content.as_bytes());
    });
    let limits = serde_json::to_vec(&spec.limits).unwrap_or_default();
    let mut policy = Parts::default();
    policy.add(&limits).add(seccomp::POLICY_TEXT.as_bytes());
    Digests {
        code: Parts::of(spec.code.as_bytes()),
        inputs: inputs.finish(),
        image: image.digest.clone(),
        policy: policy.finish(),
        outputs: outputs_digest(result),
    }
}

/// The digest of all that came out of a run, as [`Digests::outputs`] has it.
pub fn outputs_digest(result: &RunResult) -> String {
    let mut outputs = Parts::default();
    outputs.add(result.stdout.as_bytes()).add(result.stderr.as_bytes());
    outputs.add(result.outcome.map_or("fault", model::Outcome::name).as_bytes());
    outputs.add(format!("{:?} {:?}", result.exit_code, result.signal).as_bytes());
    result.artifacts.iter().for_each(|left| {
        outputs.add(left.path.as_bytes()).add(left.sha256.as_bytes());
    });
    outputs.finish()
}

/// A hash over parts.
#[derive(Default)]
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    fn finish(self) -> String {
        format!("sha256:{}", hex(&self.0.finalize()))
    }

    /// The plain hash of one thing, as `sha256sum` prints it.
    fn of(bytes: &[u8]) -> String {
        format!("sha256:{}", hex(&Sha256::digest(bytes)))
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

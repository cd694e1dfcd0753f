//! What the job executes: argument vector, environment, working directory. Prepared outside, carried to init in a memory file.

use crate::image::{FILE, Image, PROGRAM, PROGRAM_DIRECTORY, STEM};
use crate::plan::{HOME, INSIDE_USER, PROXY_PORT, WORKSPACE};
use model::{Language, Rejection, RunSpec};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

/// Where the image keeps what runs before the user's code.
const RUNNERS: &str = "/opt/fireclay";

/// One program to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Arguments; the first is the program's path inside the sandbox.
    pub args: Vec<CString>,
    /// The whole environment, as `NAME=value`.
    pub env: Vec<CString>,
    /// Working directory.
    pub cwd: CString,
}

impl Command {
    /// The command that runs `spec` with the interpreters of `image`, or that the image lacks the language.
    pub fn of(spec: &RunSpec, image: &Image) -> Result<Self, Rejection> {
        let mut args = match image.programs.get(&spec.language) {
            Some(words) => declared(words, &spec.file_name),
            None => {
                let program =
                    image.interpreter(spec.language).ok_or_else(|| no_interpreter(spec.language))?;
                let mut args = interpreter(spec.language, program, "runner.cjs");
                args.push(format!("{WORKSPACE}/{}", spec.file_name));
                args
            }
        };
        args.extend(spec.args.iter().cloned());
        let cwd =
            if spec.cwd.is_empty() { WORKSPACE.to_owned() } else { format!("{WORKSPACE}/{}", spec.cwd) };
        let env = match &spec.egress {
            None => environment(&spec.env, image),
            // The run's own win.
            Some(egress) => {
                let own = way_out_environment(image).chain(egress.placeholders());
                environment(&own.chain(spec.env.clone()).collect(), image)
            }
        };
        Ok(Self { args: words(args), env: words(env), cwd: word(cwd) })
    }

    /// The command that starts an interpreter of this language before its program is known, if it is one for which that saves much
    /// and which cannot be forked. It waits on descriptor 4 for the command of a run that [`may_be_started_ahead`].
    pub fn ahead(language: Language, image: &Image) -> Option<Self> {
        if !matches!(language, Language::JavaScript | Language::TypeScript) {
            return None;
        }
        let mut args = interpreter(language, image.interpreter(language)?, "ahead.cjs");
        args.push(format!("{WORKSPACE}/{}", language.default_file()));
        let env = own_environment(image).iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(Self { args: words(args), env: words(env), cwd: word(WORKSPACE.to_owned()) })
    }

    /// The command that starts an interpreter which stays for many runs, with these variables on top of the image's; `None` if the
    /// image lacks the language. It hears its orders on descriptor 4 (guest/PROTOCOL.md).
    pub fn staying(language: Language, image: &Image, env: &BTreeMap<String, String>) -> Option<Self> {
        let program = image.interpreter(language)?;
        let args = match language {
            Language::Python => {
                vec![program.to_owned(), "-S".into(), format!("{RUNNERS}/python/session.pyc")]
            }
            Language::JavaScript | Language::TypeScript => vec![
                program.to_owned(),
                "--expose-internals".into(),
                format!("{RUNNERS}/javascript/session.cjs"),
            ],
            Language::Bash => vec![program.to_owned(), format!("{RUNNERS}/shell/session.sh")],
            // No runner of ours stays for it.
            _ => return None,
        };
        Some(Self { args: words(args), env: words(environment(env, image)), cwd: word(WORKSPACE.to_owned()) })
    }

    /// The command that runs `spec` as a program whose file is at `program` and whose working directory is `cwd`, both inside.
    pub fn at(spec: &RunSpec, image: &Image, program: &str, cwd: &str) -> Result<Self, Rejection> {
        // The command of a declared language need not have its file.
        if spec.language.is_declared() {
            return Err(no_interpreter(spec.language));
        }
        let mut command = Self::of(spec, image)?;
        let file = command.args.len() - spec.args.len() - 1;
        command.args[file] = word(program.to_owned());
        command.cwd = word(cwd.to_owned());
        Ok(command)
    }

    /// The command that runs these words, the program looked for in `PATH` if it has no slash, with these variables on top of the image's;
    /// `None` if the image has no shell, which looks.
    pub fn by_name(
        command: &[String],
        env: &BTreeMap<String, String>,
        image: &Image,
        cwd: &str,
    ) -> Option<Self> {
        let shell = image.interpreter(Language::Bash)?;
        let mut args = vec![shell.to_owned(), "-c".into(), "exec -- \"$0\" \"$@\"".into()];
        args.extend(command.iter().cloned());
        Some(Self { args: words(args), env: words(environment(env, image)), cwd: word(cwd.to_owned()) })
    }

    /// The command as bytes: three counts, then every word with its final NUL.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for list in [&self.args, &self.env] {
            bytes.extend((list.len() as u32).to_le_bytes());
        }
        for word in self.args.iter().chain(&self.env).chain(std::iter::once(&self.cwd)) {
            bytes.extend(word.as_bytes_with_nul());
        }
        bytes
    }

    /// Reads what [`Command::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let count = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let (args, env) = (count(0)?, count(4)?);
        let mut rest = bytes.get(8..)?;
        let mut take = || {
            let word = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[word.to_bytes_with_nul().len()..];
            Some(word.to_owned())
        };
        let args = (0..args).map(|_| take()).collect::<Option<_>>()?;
        let env = (0..env).map(|_| take()).collect::<Option<_>>()?;
        Some(Self { args, env, cwd: take()? })
    }
}

/// The words of a declared language's command for a program with this file.
fn declared(words: &[String], file: &str) -> Vec<String> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let path = format!("{WORKSPACE}/{file}");
    let told = |word: &String| {
        // One word is one of them or holds none that the file's name could make.
        match word.as_str() {
            FILE => path.clone(),
            STEM => stem.to_owned(),
            other => other.replace(PROGRAM, PROGRAM_DIRECTORY),
        }
    };
    words.iter().map(told).collect()
}

fn no_interpreter(language: Language) -> Rejection {
    let hint = "install it on the host and run `fireclay image build`";
    Rejection::new("language", format!("the image has no interpreter for {language}"), hint)
}

/// The interpreter and what comes before the program's file; of JavaScript's runners, the one with this name.
fn interpreter(language: Language, program: &str, runner: &str) -> Vec<String> {
    let javascript = ["--require".into(), format!("{RUNNERS}/javascript/{runner}")];
    let mut args = vec![program.to_owned()];
    match language {
        // Without `site`: the runner does the part of it that people notice, in a tenth of the time.
        Language::Python => args.extend(["-S".into(), format!("{RUNNERS}/python/runner.pyc")]),
        Language::JavaScript => args.extend(javascript),
        // To erase types where Node itself does not (before 22.18) the runner needs its loader.
        Language::TypeScript => args.extend(std::iter::once("--expose-internals".into()).chain(javascript)),
        _ => {}
    }
    args
}

/// Most bytes of arguments and environment that go to an interpreter that was started ahead: they are one message to it.
const AHEAD_BYTES_MAX: usize = 32 << 10;
/// The machine's trusted certificates, as the image has them.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
/// The same with the authority below which secrets are put in, in a layer of sandboxes that have some.
pub const OWN_CERTIFICATES: &str = "etc/ssl/certs/fireclay.pem";
/// By which Node, Python's requests, and its httpx with all that is of OpenSSL, and then curl, git, pip, npm and the SDKs of AWS, find other
/// certificates than their own.
const TRUST: [&str; 8] = [
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "npm_config_cafile",
    "AWS_CA_BUNDLE",
];
/// How many of them are for those that bring lists of their own; all others have the machine's.
const BRING_THEIR_OWN: usize = 3;
/// Variables that Node, its libraries or the loader read when they start.
const AT_START: [&str; 11] =
    ["NODE_", "UV_", "LD_", "LC_", "LANG", "TZ", "HOME", "SSL_", "OPENSSL_", "ICU_", "MALLOC_"];

/// Whether an interpreter that was started before this run was known can be what one of its own would be.
pub fn may_be_started_ahead(spec: &RunSpec) -> bool {
    let variables = spec.env.iter().map(|(name, value)| name.len() + value.len() + 2);
    let bytes: usize = variables.chain(spec.args.iter().map(|arg| arg.len() + 1)).sum();
    let in_time = match spec.language {
        // A fork that must execute an interpreter of its own after all can.
        Language::Python => true,
        Language::JavaScript | Language::TypeScript => {
            let read_later =
                |name: &String| name == "NODE_ENV" || !AT_START.iter().any(|start| name.starts_with(start));
            let usual = spec.file_name == spec.language.default_file() && spec.egress.is_none();
            usual && spec.env.keys().all(read_later)
        }
        _ => false,
    };
    in_time && !spec.merge_output && bytes <= AHEAD_BYTES_MAX
}

/// By which programs find their proxy: what curl, Python, git, npm and most others read, and what Node reads from 24 on.
pub fn proxy_environment() -> impl Iterator<Item = (String, String)> {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let to_proxy =
        ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name, proxy.clone()));
    let around = ["no_proxy", "NO_PROXY"].map(|name| (name, "localhost,127.0.0.1,::1".to_owned()));
    let node = [("NODE_USE_ENV_PROXY", "1".to_owned())];
    to_proxy.into_iter().chain(around).chain(node).map(|(name, value)| (name.to_owned(), value))
}

/// The same, and what Node and Python's requests and httpx, which bring lists of their own, are to trust: whom the machine trusts, as the image
/// has it. What is of OpenSSL has that file by default (Debian: `/usr/lib/ssl/cert.pem` leads to it) and finds the same by `SSL_CERT_FILE`.
pub fn way_out_environment(image: &Image) -> impl Iterator<Item = (String, String)> {
    let is_there =
        |path: &str| image.layers.iter().chain([&image.rootfs]).any(|layer| layer.join(path).is_file());
    let (names, path) = match is_there(OWN_CERTIFICATES) {
        true => (TRUST.as_slice(), Some(OWN_CERTIFICATES)),
        false => (&TRUST[..BRING_THEIR_OWN], is_there(CERTIFICATES).then_some(CERTIFICATES)),
    };
    let trust = path.into_iter().flat_map(|path| names.iter().map(move |name| (*name, path)));
    proxy_environment().chain(trust.map(|(name, path)| (name.to_owned(), format!("/{path}"))))
}

/// The variables that every job has: the sandbox's own, then the image's.
pub(crate) fn own_environment(image: &Image) -> Vec<(&str, &str)> {
    let own = [
        ("HOME", HOME),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", INSIDE_USER),
        ("PATH", image.path.as_str()),
        ("SHELL", "/bin/bash"),
        ("TMPDIR", "/tmp"),
        ("USER", INSIDE_USER),
    ];
    own.into_iter().chain(image.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
}

/// Exactly those, then the caller's own, which win.
fn environment(env: &BTreeMap<String, String>, image: &Image) -> Vec<String> {
    let own = own_environment(image);
    let own = own
        .iter()
        .filter(|(name, _)| !env.contains_key(*name))
        .map(|(name, value)| format!("{name}={value}"));
    own.chain(env.iter().map(|(name, value)| format!("{name}={value}"))).collect()
}

fn words(list: Vec<String>) -> Vec<CString> {
    list.into_iter().map(word).collect()
}

fn word(text: String) -> CString {
    CString::new(text).expect("admission refuses NUL bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Policy, RunRequest};

    fn image() -> Image {
        Image::of_paths(
            "/x".into(),
            "/y".into(),
            Some("/usr/bin/python3".into()),
            None,
            Some("/bin/bash".into()),
        )
    }

    fn spec(language: Language) -> RunSpec {
        let env = [("A".to_owned(), "b".to_owned()), ("HOME".to_owned(), "/tmp".to_owned())].into();
        let request =
            RunRequest { language: Some(language), args: vec!["x y".into()], env, ..RunRequest::default() };
        RunSpec::admit(request, &Policy::DEFAULT).unwrap()
    }

    #[test]
    fn a_python_command() {
        let command = Command::of(&spec(Language::Python), &image()).unwrap();
        insta::assert_debug_snapshot!(command);
        assert_eq!(Command::decode(&command.encode()), Some(command));
    }

    #[test]
    fn the_images_variables_are_every_jobs_and_the_runs_own_win() {
        let image = Image {
            env: [("A".to_owned(), "image".to_owned()), ("B".to_owned(), "image".to_owned())].into(),
            ..image()
        };
        let env = Command::of(&spec(Language::Python), &image).unwrap().env;
        let values = |name: &str| -> Vec<String> {
            let words = env.iter().map(|word| word.to_string_lossy().into_owned());
            words.filter(|word| word.starts_with(name)).collect()
        };
        assert_eq!((values("A="), values("B=")), (vec!["A=b".to_owned()], vec!["B=image".to_owned()]));
    }

    #[test]
    fn the_uppermost_directory_is_first() {
        let image = Image { layers: vec!["/layer".into()], ..image() };
        assert_eq!(image.directories().unwrap(), [c"/y".to_owned(), c"/layer".into(), c"/x".into()]);
    }

    #[test]
    fn a_language_that_the_image_lacks_is_a_rejection() {
        let rejection = Command::of(&spec(Language::TypeScript), &image()).unwrap_err();
        insta::assert_snapshot!(rejection, @"language: the image has no interpreter for typescript; install it on the host and run `fireclay image build`");
    }

    #[test]
    fn cut_bytes_are_no_command() {
        let bytes = Command::of(&spec(Language::Bash), &image()).unwrap().encode();
        assert!((0..bytes.len()).all(|length| Command::decode(&bytes[..length]).is_none()));
    }
}

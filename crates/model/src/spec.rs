//! A run as it will be done: complete, checked, clamped.

use crate::limits::{
    CODE_BYTES_MAX, INPUT_FILES_MAX, PATH_BYTES_MAX, TEMPLATE_NAME_BYTES_MAX, WORDS_BYTES_MAX, WORDS_MAX,
};
use crate::{Egress, InputFile, Language, Limits, Policy, Rejection, RunRequest, base64};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A complete run: no field means "default".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The language.
    pub language: Language,
    /// The name of what its sandbox is made from. Whether there is such a template is the worker's to say.
    pub template: String,
    /// The program text.
    pub code: String,
    /// The program's own file, relative to the workspace. Never one of `files`.
    pub file_name: String,
    /// Standard input; empty means end of file at once.
    #[serde(with = "base64")]
    pub stdin: Vec<u8>,
    /// Arguments, without NUL.
    pub args: Vec<String>,
    /// Environment on top of the sandbox's own, names checked.
    pub env: BTreeMap<String, String>,
    /// Working directory, relative to the workspace; empty is the workspace.
    pub cwd: String,
    /// Files put into the workspace first; paths checked and unique.
    pub files: Vec<InputFile>,
    /// Whether stderr is the same pipe as stdout, so that the order of writes holds; all output is then stdout.
    pub merge_output: bool,
    /// The environment of packages that is laid over its template, by the digest of its content in hexadecimal; none is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The version of Python that it has, if that is not the image's. What was asked for until the machine has chosen; then whole, as `3.13.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Which hosts it may reach; `None` is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Clamped limits.
    pub limits: Limits,
    /// The caller's labels.
    pub metadata: BTreeMap<String, String>,
}

impl RunSpec {
    /// Completes a request by `policy`, or says which field is wrong.
    pub fn admit(request: RunRequest, policy: &Policy) -> Result<RunSpec, Rejection> {
        let language = language_of(&request)?;
        check_code(&request.code)?;
        check_words("args", request.args.iter().map(String::as_str))?;
        check_env(&request.env)?;
        check_limits(&request)?;
        let mut taken = BTreeSet::new();
        for (index, file) in request.files.iter().enumerate() {
            let field = format!("files[{index}].path");
            check_path(&field, &file.path)?;
            if !taken.insert(file.path.as_str()) {
                return Err(Rejection::new(
                    field,
                    format!("{:?} is given twice", file.path),
                    "name each file once",
                ));
            }
        }
        if request.files.len() > INPUT_FILES_MAX {
            let message = format!("{} files", request.files.len());
            return Err(Rejection::new(
                "files",
                message,
                format!("at most {INPUT_FILES_MAX}; pack them into an archive"),
            ));
        }
        check_tree(&taken)?;
        let cwd = match request.cwd.as_deref() {
            None | Some("" | ".") => String::new(),
            Some(path) => check_path("cwd", path).map(|()| path.to_owned())?,
        };
        let file_name = file_name_of(&request, language, &taken)?;
        let egress = Egress::admit(request.egress.clone())?;
        let secrets = egress.iter().flat_map(|egress| egress.secrets.keys());
        if let Some(name) = secrets.into_iter().find(|name| request.env.contains_key(*name)) {
            let hint = "leave it out of `env`: the variable has what stands for the secret";
            return Err(Rejection::new(format!("env.{name}"), "a secret has the same name", hint));
        }
        let template = match request.template {
            Some(ref name) => check_template(name).map(|()| name.clone())?,
            None => language.default_template().to_owned(),
        };
        if request.python.is_some() && !matches!(language, Language::Python | Language::Bash) {
            let hint = "leave it out; programs of Python and bash have one";
            return Err(Rejection::new("python", format!("{language} is not run by Python"), hint));
        }
        let limits = policy.limits.narrowed(&request.limits, &policy.ceiling);
        check_room(&request, limits.disk_bytes)?;
        Ok(RunSpec {
            language,
            template,
            file_name,
            cwd,
            environment: None,
            python: request.python,
            egress,
            limits,
            stdin: request.stdin.unwrap_or_default().into_bytes(),
            merge_output: false,
            code: request.code,
            args: request.args,
            env: request.env,
            files: request.files,
            metadata: request.metadata,
        })
    }
}

/// Accepts a path that stays below the workspace and can be written down anywhere: relative, no `.` or `..`, no control characters.
pub fn check_path(field: &str, path: &str) -> Result<(), Rejection> {
    let hint = "use a relative path such as data/a.csv, without . or .. and without control characters";
    let wrong = if path.is_empty() {
        "the path is empty"
    } else if path.len() > PATH_BYTES_MAX || path.split('/').any(|part| part.len() > 255) {
        "the path is too long"
    } else if path.starts_with('/') {
        "the path is absolute"
    } else if path.chars().any(char::is_control) {
        "the path has a control character"
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "the path has an empty part, . or .."
    } else {
        return Ok(());
    };
    Err(Rejection::new(field, format!("{wrong}: {path:?}"), hint))
}

fn language_of(request: &RunRequest) -> Result<Language, Rejection> {
    let by_name = || request.file_name.as_deref().and_then(Language::of_file_name);
    request.language.or_else(by_name).or_else(|| Language::of_shebang(&request.code)).ok_or_else(|| {
        let names: Vec<&str> = Language::ALL.iter().map(|language| language.name()).collect();
        Rejection::new("language", "cannot tell the language", format!("name one of: {}", names.join(", ")))
    })
}

/// Accepts what can be a template's name, or a name and a version of it as `NAME@VERSION`, so that it can be shown and looked for.
pub(crate) fn check_template(name: &str) -> Result<(), Rejection> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let (short, version) = name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
    let is_version =
        |version: &str| version.len() == 12 && version.bytes().all(|byte| byte.is_ascii_hexdigit());
    if (1..=TEMPLATE_NAME_BYTES_MAX).contains(&short.len())
        && short.bytes().all(good)
        && version.is_none_or(is_version)
    {
        return Ok(());
    }
    let hint = format!("use 1 to {TEMPLATE_NAME_BYTES_MAX} of a-z, 0-9 and '-', such as python-data");
    Err(Rejection::new("template", "not a template's name", hint))
}

fn check_code(code: &str) -> Result<(), Rejection> {
    if code.len() > CODE_BYTES_MAX {
        let message = format!("{} bytes of code", code.len());
        return Err(Rejection::new(
            "code",
            message,
            format!("at most {CODE_BYTES_MAX}; put data into files"),
        ));
    }
    Ok(())
}

/// No file is where another needs a directory.
fn check_tree(paths: &BTreeSet<&str>) -> Result<(), Rejection> {
    let parents =
        |path: &str| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
    for path in paths {
        if let Some(parent) = parents(path).into_iter().find(|parent| paths.contains(parent.as_str())) {
            let message = format!("{parent:?} is a file, and {path:?} needs a directory there");
            return Err(Rejection::new("files", message, "rename one of them"));
        }
    }
    Ok(())
}

/// What is put into the workspace fits into the disk limit. Less than all of it may be used, so this is not the last word.
fn check_room(request: &RunRequest, disk_bytes: u64) -> Result<(), Rejection> {
    let files = request.files.iter().map(|file| file.content.as_bytes().len());
    let total = files.chain([request.code.len()]).sum::<usize>() as u64;
    if total > disk_bytes {
        let message = format!("{total} bytes of code and files do not fit into disk_bytes, {disk_bytes}");
        return Err(Rejection::new("files", message, "raise limits.disk_bytes or send less"));
    }
    Ok(())
}

fn check_words<'a>(field: &str, words: impl Iterator<Item = &'a str>) -> Result<(), Rejection> {
    let (mut count, mut bytes) = (0, 0);
    for word in words {
        if word.contains('\0') {
            return Err(Rejection::new(
                field,
                "a value has a NUL byte",
                "remove it; the kernel ends strings there",
            ));
        }
        count += 1;
        bytes += word.len() + 1;
    }
    if count > WORDS_MAX || bytes > WORDS_BYTES_MAX {
        let message = format!("{count} values of {bytes} bytes");
        return Err(Rejection::new(
            field,
            message,
            format!("at most {WORDS_MAX} values and {WORDS_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), Rejection> {
    for name in env.keys() {
        if name.is_empty() || name.contains('=') {
            let field = format!("env.{name}");
            return Err(Rejection::new(field, "not a variable's name", "use a non-empty name without ="));
        }
    }
    check_words("env", env.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]))
}

fn check_limits(request: &RunRequest) -> Result<(), Rejection> {
    let limits = &request.limits;
    let zero = [
        ("timeout_ms", limits.timeout_ms == Some(0)),
        ("memory_bytes", limits.memory_bytes == Some(0)),
        ("processes", limits.processes == Some(0)),
        ("cpus", limits.cpus.is_some_and(|cpus| cpus <= 0.0 || !cpus.is_finite())),
    ];
    match zero.into_iter().find(|(_, wrong)| *wrong) {
        Some((name, _)) => Err(Rejection::new(
            format!("limits.{name}"),
            "must be more than zero",
            "leave it out for the default",
        )),
        None => Ok(()),
    }
}

fn file_name_of(
    request: &RunRequest,
    language: Language,
    taken: &BTreeSet<&str>,
) -> Result<String, Rejection> {
    if let Some(name) = &request.file_name {
        check_path("file_name", name)?;
        if taken.contains(name.as_str()) {
            return Err(Rejection::new(
                "files",
                format!("{name:?} is the code's own file"),
                "rename one of them",
            ));
        }
        return Ok(name.clone());
    }
    let plain = language.default_file();
    let free = |name: &String| !taken.contains(name.as_str());
    // As many candidates as there can be files, and one more: one is always free.
    let (stem, extension) = plain.rsplit_once('.').unwrap_or((plain, ""));
    let numbered = (1..=INPUT_FILES_MAX + 1).map(|n| format!("{stem}{n}.{extension}"));
    Ok(std::iter::once(plain.to_owned()).chain(numbered).find(free).expect("more names than files"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::FileContent;

    fn reject(request: RunRequest) -> String {
        RunSpec::admit(request, &Policy::DEFAULT).unwrap_err().to_string()
    }

    fn python(code: &str) -> RunRequest {
        RunRequest { language: Some(Language::Python), code: code.into(), ..RunRequest::default() }
    }

    fn file(path: &str) -> InputFile {
        InputFile { path: path.into(), content: FileContent::Text(String::new()), executable: false }
    }

    #[test]
    fn the_least_request_is_completed() {
        let spec = RunSpec::admit(python("1"), &Policy::DEFAULT).unwrap();
        assert_eq!((spec.file_name.as_str(), spec.cwd.as_str()), ("main.py", ""));
        assert_eq!(spec.template, "python");
        assert_eq!(spec.limits, Policy::DEFAULT.limits);
    }

    #[test]
    fn the_codes_file_never_hides_an_input() {
        let request = RunRequest { files: vec![file("main.py"), file("main1.py")], ..python("1") };
        assert_eq!(RunSpec::admit(request, &Policy::DEFAULT).unwrap().file_name, "main2.py");
    }

    #[test]
    fn mistakes_name_the_field_and_the_fix() {
        insta::assert_snapshot!(reject(RunRequest::default()), @"language: cannot tell the language; name one of: python, bash, javascript, typescript, c, cpp, rust, go, java, ruby, perl, php, r");
        insta::assert_snapshot!(reject(RunRequest { files: vec![file("../x")], ..python("") }), @r#"files[0].path: the path has an empty part, . or ..: "../x"; use a relative path such as data/a.csv, without . or .. and without control characters"#);
        insta::assert_snapshot!(reject(RunRequest { files: vec![file("a/b/c"), file("a/b")], ..python("") }), @r#"files: "a/b" is a file, and "a/b/c" needs a directory there; rename one of them"#);
        let little = crate::LimitsPatch { disk_bytes: Some(1), ..Default::default() };
        insta::assert_snapshot!(reject(RunRequest { limits: little, ..python(&" ".repeat(70_000)) }), @"files: 70000 bytes of code and files do not fit into disk_bytes, 65536; raise limits.disk_bytes or send less");
        insta::assert_snapshot!(reject(RunRequest { args: vec!["a\0".into()], ..python("") }), @"args: a value has a NUL byte; remove it; the kernel ends strings there");
        let limits = crate::LimitsPatch { timeout_ms: Some(0), ..Default::default() };
        insta::assert_snapshot!(reject(RunRequest { limits, ..python("") }), @"limits.timeout_ms: must be more than zero; leave it out for the default");
        insta::assert_snapshot!(reject(RunRequest { template: Some("../x".into()), ..python("") }), @"template: not a template's name; use 1 to 64 of a-z, 0-9 and '-', such as python-data");
        let env = [("A=B".to_owned(), String::new())].into();
        insta::assert_snapshot!(reject(RunRequest { env, ..python("") }), @"env.A=B: not a variable's name; use a non-empty name without =");
    }
}

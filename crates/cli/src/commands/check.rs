//! `fireclay check`: findings of the static check in one program, as text, JSON or SARIF.

use crate::args::{CheckArguments, CheckFormat};
use crate::terminal::Inert;
use anyhow::Context;
use check::verdicts::Verdicts;
use check::{Report, check_by};
use model::limits::CODE_BYTES_MAX;
use model::{CheckMode, CheckPatch, Language, Rejection};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// The policy refuses the program; also what a run of it is then.
const REFUSED: u8 = 4;

/// Checks a program; answers the exit code.
pub fn check(arguments: &CheckArguments) -> anyhow::Result<u8> {
    let source = read(&arguments.file)?;
    let name = Path::new(&arguments.file).file_name().map(|name| name.to_string_lossy().into_owned());
    let by_name = || name.as_deref().and_then(Language::of_file_name);
    let language = arguments.language.or_else(by_name).or_else(|| Language::of_shebang(&source));
    let language = language
        .ok_or_else(|| Rejection::new("language", "cannot tell the language", "name it with --language"))?;
    let asked = CheckPatch {
        mode: Some(CheckMode::Deny),
        policy: Some(arguments.policy),
        rules: arguments.rules.iter().cloned().collect(),
        enforce: false,
    };
    let report = check_by(&source, language, &Verdicts::of(&[], &asked, "--rule")?);
    let mut out = std::io::stdout().lock();
    match arguments.format {
        CheckFormat::Text => {
            out.write_all(&Inert::default().push(text(&report, &arguments.file).as_bytes()))?
        }
        CheckFormat::Json => {
            let value = serde_json::json!({
                "language": language, "policy": arguments.policy, "refused": report.refused, "findings": report.findings,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
        }
        CheckFormat::Sarif => {
            let log = ::check::sarif::log(&report, &arguments.file, arguments.policy);
            writeln!(out, "{}", serde_json::to_string_pretty(&log)?)?;
        }
    }
    Ok(if report.refused { REFUSED } else { 0 })
}

/// As compilers say it: a line for each finding, and what to do.
fn text(report: &Report, file: &str) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let denies = if finding.verdict == CheckMode::Deny { " [deny]" } else { "" };
        text.push_str(&format!("{file}:{finding}{denies}\n    {}\n", finding.advice));
    }
    let (count, verdict) = (report.findings.len(), if report.refused { "refused" } else { "not refused" });
    text.push_str(&format!("{count} finding{}: {verdict}\n", if count == 1 { "" } else { "s" }));
    text
}

/// The program. Bytes that are not UTF-8 are replaced: they are findings' places that matter, not the bytes.
fn read(file: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let most = CODE_BYTES_MAX as u64 + 1;
    if file == "-" {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).context("read standard input")?;
    } else {
        let unreadable = |error: std::io::Error| {
            Rejection::new(
                "FILE",
                format!("cannot read {file}: {error}"),
                "name a file that exists and is readable",
            )
        };
        File::open(file).and_then(|open| open.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    }
    if bytes.len() > CODE_BYTES_MAX {
        let hint = format!("at most {CODE_BYTES_MAX}");
        return Err(Rejection::new("FILE", format!("{file}: too long"), hint).into());
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()))
}

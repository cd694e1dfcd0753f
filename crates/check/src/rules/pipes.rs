//! Rules of what flows between commands of a shell: secrets that are sent, and text that a shell is given.

use super::flows::hides;
use super::{Sink, quote};
use crate::facts::{Command, Facts};
use crate::place::is_private;

/// Commands that send what they read.
const SENDERS: [&str; 10] =
    ["curl", "wget", "nc", "ncat", "netcat", "socat", "telnet", "mail", "sendmail", "openssl"];
/// Shells and interpreters.
pub(super) const INTERPRETERS: [&str; 14] = [
    "sh", "bash", "zsh", "dash", "ksh", "python", "python3", "perl", "ruby", "node", "php", "eval", "source",
    ".",
];

/// Applies the rules.
pub fn apply(facts: &Facts, sink: &mut Sink) {
    facts.commands.iter().for_each(|command| command_flows(command, facts, sink));
}

fn command_flows(command: &Command, facts: &Facts, sink: &mut Sink) {
    let (program, at) = (command.program(), command.at);
    let fed = |names: &[&str]| command.fed_by.iter().any(|name| names.contains(&name.as_str()));
    let interprets = INTERPRETERS.contains(&program);
    if interprets && fed(&["curl", "wget", "fetch", "nc", "ncat"]) {
        sink.add("download.execute", at, quote(program));
    }
    if interprets
        && (fed(&["base64", "xxd", "base32", "gunzip", "zcat", "rev", "openssl", "tr"])
            || fed(&["printf", "echo"])
                && matches!(program, "eval")
                && command.words.len() > 1
                && hex(command))
    {
        sink.add("code.obfuscated", at, quote(program));
    }
    let secret = sink.found.iter().any(|(rule, ..)| *rule == "credentials.path");
    if SENDERS.contains(&program) && program != "openssl" && sends(command, facts, secret) {
        sink.add("exfiltration", at, quote(program));
    }
    if matches!(program, "nc" | "ncat" | "netcat" | "socat") {
        let shell = command.words.iter().any(|word| {
            matches!(word.as_str(), "-e" | "-c" | "-le" | "-lvpe" | "-ne")
                || word.contains("EXEC:")
                || word.contains("exec:")
                || word.contains("/bin/sh")
                || word.contains("/bin/bash")
        });
        if shell || fed(&["sh", "bash"]) {
            sink.add("shell.reverse", at, quote(program));
        } else if command.has_option('l', "listen") || command.has_option('z', "") {
            sink.add("network.scan", at, quote(program));
        }
    }
    if matches!(program, "bash" | "sh")
        && command.has_option('i', "")
        && (command.redirects.iter().any(|redirect| redirect.target.contains("/dev/tcp"))
            || fed(&["nc", "mkfifo", "cat"]))
    {
        sink.add("shell.reverse", at, quote(program));
    }
    // A script that was fetched a line before.
    let fetched = |word: &str| {
        facts.commands.iter().any(|other| {
            other.at < at
                && matches!(other.program(), "curl" | "wget")
                && (other.words.iter().any(|from| {
                    from == word || from.ends_with(&format!("/{}", word.trim_start_matches("./")))
                }) || other.redirects.iter().any(|redirect| redirect.target == word))
        })
    };
    let word = command.inner().get(1).map_or("", String::as_str);
    let direct = command.inner().first().filter(|word| word.contains('/')).map_or("", String::as_str);
    if (interprets || program == "chmod") && command.operands().any(fetched)
        || !direct.is_empty() && fetched(direct)
    {
        sink.add("download.execute", at, quote(if word.is_empty() { program } else { word }));
    }
    if matches!(program, "python" | "python3" | "perl" | "node" | "ruby" | "php")
        && command.has_option('c', "") | command.has_option('e', "") | command.has_option('r', "")
    {
        let code = command.words.join(" ");
        if hides(&code)
            && (code.contains("socket")
                || code.contains("b64decode")
                || code.contains("rm -rf")
                || code.contains("rmtree"))
            || code.contains("socket") && (code.contains("connect") || code.contains("Socket"))
        {
            sink.add("code.obfuscated", at, quote(program));
        }
    }
}

/// Whether a command sends what another machine has no business with.
fn sends(command: &Command, facts: &Facts, secret: bool) -> bool {
    let fed = |names: &[&str]| command.fed_by.iter().any(|name| names.contains(&name.as_str()));
    if fed(&["env", "printenv", "history", "set", "whoami", "id", "ps", "dump", "xxd", "base64"]) {
        return true;
    }
    if secret && command.words.iter().any(|word| word.contains("://") || word.contains('.')) {
        return true;
    }
    let reads = ["cat", "tar", "zip", "gzip", "grep", "find", "ls", "head", "tail"];
    let from = command.redirects.iter().filter(|redirect| redirect.operator == "<");
    // Whoever sends over a bare socket has nobody at the other end who asked.
    if matches!(command.program(), "nc" | "ncat" | "netcat" | "socat" | "telnet")
        && (fed(&reads) || fed(&["hostname"]) || from.clone().next().is_some())
    {
        return true;
    }
    let private = |path: &str| is_private(path.trim_start_matches('@'));
    let mut sent = command.words.iter().skip(1).filter_map(|word| {
        let (_, path) =
            word.split_once('@').filter(|(before, _)| before.is_empty() || before.ends_with('='))?;
        path.split(';').next()
    });
    let option = |pair: &[String]| {
        matches!(pair[0].as_str(), "-T" | "--upload-file" | "--post-file" | "--body-file")
            && private(&pair[1])
    };
    let joined = |word: &String| {
        ["--upload-file=", "--post-file=", "--body-file="]
            .iter()
            .any(|option| word.strip_prefix(option).is_some_and(private))
    };
    sent.any(private)
        || command.words.windows(2).any(option)
        || command.words.iter().any(joined)
        || from.map(|redirect| redirect.target.as_str()).any(private)
        || fed(&reads)
            && facts.commands.iter().any(|other| {
                reads.contains(&other.program()) && other.at <= command.at && other.operands().any(private)
            })
}

fn hex(command: &Command) -> bool {
    command.words.iter().any(|word| word.contains("x72") || word.contains("\\x"))
}

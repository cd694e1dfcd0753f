//! Rules of what flows between commands of a shell: secrets that are sent, and text that a shell is given.

use super::flows::hides;
use super::{Sink, quote};
use crate::facts::{Command, Facts};
use crate::place::is_private;
use std::collections::HashMap;

/// Commands that send what they read.
const SENDERS: [&str; 10] =
    ["curl", "wget", "nc", "ncat", "netcat", "socat", "telnet", "mail", "sendmail", "openssl"];
/// Shells and interpreters.
pub(super) const INTERPRETERS: [&str; 14] = [
    "sh", "bash", "zsh", "dash", "ksh", "python", "python3", "perl", "ruby", "node", "php", "eval", "source",
    ".",
];

/// Commands that print what they read.
const READERS: [&str; 9] = ["cat", "tar", "zip", "gzip", "grep", "find", "ls", "head", "tail"];

/// What is true of a program as a whole. Found once: a question to all commands for each of them would be a square.
struct Whole<'a> {
    /// Whether it names a place of credentials.
    secret: bool,
    /// Where it first prints what is no business of another machine.
    private: Option<usize>,
    /// Names under which something was fetched, and where first.
    fetched: HashMap<&'a str, usize>,
}

impl<'a> Whole<'a> {
    fn of(facts: &'a Facts, sink: &Sink) -> Self {
        let mut fetched = HashMap::new();
        for command in facts.commands.iter().filter(|command| matches!(command.program(), "curl" | "wget")) {
            let words = command.words.iter().skip(1);
            let to = command.redirects.iter().map(|redirect| &redirect.target);
            for name in words.chain(to).filter(|word| !word.starts_with('-')) {
                let at = command.at;
                fetched.entry(name.as_str()).or_insert(at);
                fetched.entry(name.rsplit('/').next().unwrap_or(name)).or_insert(at);
            }
        }
        let reads =
            |command: &&Command| READERS.contains(&command.program()) && command.operands().any(is_private);
        Self {
            secret: sink.found.iter().any(|(rule, ..)| *rule == "credentials.path"),
            private: facts.commands.iter().find(reads).map(|command| command.at),
            fetched,
        }
    }

    /// Whether a file of this name was fetched before.
    fn has_fetched(&self, name: &str, before: usize) -> bool {
        let at = self.fetched.get(name).or_else(|| self.fetched.get(name.trim_start_matches("./")));
        at.is_some_and(|at| *at < before)
    }
}

/// Applies the rules.
pub fn apply(facts: &Facts, sink: &mut Sink) {
    let whole = Whole::of(facts, sink);
    facts.commands.iter().for_each(|command| command_flows(command, &whole, sink));
}

fn command_flows(command: &Command, whole: &Whole, sink: &mut Sink) {
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
    if SENDERS.contains(&program) && program != "openssl" && sends(command, whole) {
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
    // A script that was fetched a line before. What a script is told to read is not it.
    let first = command.inner().first().map_or("", String::as_str);
    let script = if interprets { command.operands().next().unwrap_or_default() } else { first };
    if (interprets || first.contains('/')) && whole.has_fetched(script, at) {
        sink.add("download.execute", at, quote(script));
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
fn sends(command: &Command, whole: &Whole) -> bool {
    let fed = |names: &[&str]| command.fed_by.iter().any(|name| names.contains(&name.as_str()));
    if fed(&["env", "printenv", "history", "set", "whoami", "id", "ps", "dump", "xxd", "base64"]) {
        return true;
    }
    if whole.secret && command.words.iter().any(|word| word.contains("://") || word.contains('.')) {
        return true;
    }
    let from = command.redirects.iter().filter(|redirect| redirect.operator == "<");
    // Whoever sends over a bare socket has nobody at the other end who asked.
    if matches!(command.program(), "nc" | "ncat" | "netcat" | "socat" | "telnet")
        && (fed(&READERS) || fed(&["hostname"]) || from.clone().next().is_some())
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
        || fed(&READERS) && whole.private.is_some_and(|at| at <= command.at)
}

fn hex(command: &Command) -> bool {
    command.words.iter().any(|word| word.contains("x72") || word.contains("\\x"))
}

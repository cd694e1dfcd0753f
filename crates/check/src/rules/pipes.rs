//! Rules of what flows between commands of a shell: secrets that are sent, and text that a shell is given.

use super::flows::{SECRETS, hides};
use super::{Sink, quote};
use crate::facts::{Around, Command, Facts, UNKNOWN};
use crate::place::{is_personal, is_private};
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
    /// Whether it makes letters of bytes.
    encodes: bool,
    /// Whether a loop destroys files, and somebody's home or a whole tree is searched.
    destroys: bool,
    /// Names under which something was fetched, and by which command first. Commands of one text may all stand at one place.
    fetched: HashMap<&'a str, usize>,
}

impl<'a> Whole<'a> {
    fn of(facts: &'a Facts, sink: &Sink) -> Self {
        let mut fetched = HashMap::new();
        let fetches = |(_, command): &(usize, &Command)| matches!(command.program(), "curl" | "wget");
        for (index, command) in facts.commands.iter().enumerate().filter(fetches) {
            let words = command.words.iter().skip(1);
            let to = command.redirects.iter().map(|redirect| &redirect.target);
            for name in words.chain(to).filter(|word| !word.starts_with('-')) {
                fetched.entry(name.as_str()).or_insert(index);
                fetched.entry(name.rsplit('/').next().unwrap_or(name)).or_insert(index);
            }
        }
        let reads =
            |command: &&Command| READERS.contains(&command.program()) && command.operands().any(is_private);
        Self {
            secret: sink.found.iter().any(|(rule, ..)| SECRETS.contains(rule))
                || facts.commands.iter().any(takes_secrets),
            private: facts.commands.iter().find(reads).map(|command| command.at),
            encodes: facts.commands.iter().any(|command| {
                matches!(command.program(), "xxd" | "base64" | "base32" | "od" | "hexdump")
                    && !command.has_option('d', "decode")
            }),
            destroys: facts.commands.iter().any(|command| {
                command.around != Around::Nothing
                    && matches!(command.program(), "shred" | "rm" | "wipe" | "mv")
            }) && facts
                .commands
                .iter()
                .any(|command| command.inner().iter().any(|word| is_personal(word.trim_end_matches("/*")))),
            fetched,
        }
    }

    /// Whether a file of this name was fetched before this command.
    fn has_fetched(&self, name: &str, before: usize) -> bool {
        let by = self.fetched.get(name).or_else(|| self.fetched.get(name.trim_start_matches("./")));
        by.is_some_and(|by| *by < before)
    }
}

/// Applies the rules.
pub fn apply(facts: &Facts, sink: &mut Sink) {
    let whole = Whole::of(facts, sink);
    let commands = facts.commands.iter().enumerate();
    commands.for_each(|(index, command)| command_flows(index, command, &whole, sink));
}

fn command_flows(index: usize, command: &Command, whole: &Whole, sink: &mut Sink) {
    let (program, at) = (command.program(), command.at);
    machines(command, sink);
    tries(command, sink);
    configures(command, sink);
    hostage(command, whole, sink);
    // A secret goes in the labels of names that are looked up.
    let asks = matches!(program, "dig" | "nslookup" | "host" | "ping" | "getent" | "drill");
    let label = |word: &str| word.starts_with(UNKNOWN) && word.contains('.');
    if asks && whole.encodes && command.operands().any(label) {
        sink.add("exfiltration", at, quote(program));
    }
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
        } else if command.has_option('l', "listen")
            || command.has_option('z', "") && !command.operands().any(is_here)
        {
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
    if (interprets || first.contains('/')) && whole.has_fetched(script, index) {
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
            || code.contains("fsockopen") && code.contains("exec")
        {
            sink.add("code.obfuscated", at, quote(program));
        }
    }
}

/// Whether a command reads where credentials are kept.
fn takes_secrets(command: &Command) -> bool {
    let kept = |path: &str| {
        let path = path.trim_end_matches(['/', '*']);
        ["/.kube", "/.aws", "/.gnupg", "/.ssh", "/.docker"].iter().any(|end| path.ends_with(end))
            || [".ssh", ".aws", ".kube", ".gnupg"].contains(&path)
    };
    match command.program() {
        "tar" | "zip" | "cat" | "cp" | "7z" => command.operands().any(kept),
        "kubectl" => command.operands().any(|word| matches!(word, "secret" | "secrets")),
        _ => false,
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

/// Passwords that are tried in turn, and machines of a network that are asked in turn.
fn tries(command: &Command, sink: &mut Sink) {
    let wrapped = &command.words[..command.wrappers];
    let many = |word: &String| word.trim_start_matches("-P").parse::<u32>().is_ok_and(|count| count >= 50);
    let floods = matches!(command.program(), "curl" | "wget")
        && wrapped.iter().any(|word| word == "xargs")
        && wrapped
            .windows(2)
            .any(|pair| pair[0] == "-P" && many(&pair[1]) || pair[0].starts_with("-P") && many(&pair[0]));
    if command.around == Around::Nothing && !floods {
        return;
    }
    let words = command.inner();
    let guesses = command.program() == "sshpass"
        && words.windows(2).any(|pair| pair[0] == "-p" && pair[1].starts_with(UNKNOWN))
        || command.program() == "curl"
            && words.windows(2).any(|pair| {
                matches!(&*pair[0], "-u" | "--user")
                    && pair[1].ends_with(UNKNOWN)
                    && pair[1].contains(':')
                    && !pair[1].starts_with(UNKNOWN)
            });
    let asks = matches!(
        command.program(),
        "ping" | "fping" | "arping" | "nc" | "ncat" | "telnet" | "ssh" | "curl" | "wget" | "nmap"
    );
    let address = |word: &str| {
        let host = word.trim_start_matches("http://").trim_start_matches("https://");
        let begin = host.split(UNKNOWN).next().unwrap_or_default();
        host.contains(UNKNOWN)
            && begin.ends_with('.')
            && begin.matches('.').count() >= 2
            && begin.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    if guesses || asks && command.operands().any(address) || floods {
        sink.add("network.scan", command.at, quote(command.program()));
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "::1") || host.starts_with("127.")
}

/// A container that has the machine it runs on.
fn machines(command: &Command, sink: &mut Sink) {
    if !matches!(command.program(), "docker" | "podman" | "nerdctl" | "kubectl" | "crictl") {
        return;
    }
    let words = command.inner();
    let given = |word: &String| {
        word == "--privileged"
            || word.starts_with("--privileged=t")
            || word.ends_with("=host")
                && (word.starts_with("--pid") || word.starts_with("--ipc") || word.starts_with("--userns"))
            || word.starts_with("--cap-add=ALL")
            || word.starts_with("--cap-add=SYS_ADMIN")
            || word.contains("\"privileged\":true")
            || word.contains("\"privileged\": true")
            || mounts_machine(word.split_once('=').map_or(word, |(_, to)| to))
    };
    let pairs = words.windows(2).any(|pair| {
        pair[0] == "--pid" && pair[1] == "host"
            || pair[0] == "--cap-add" && matches!(&*pair[1], "ALL" | "SYS_ADMIN")
    });
    if words.iter().any(given) || pairs {
        sink.add("sandbox.probe", command.at, quote(command.program()));
    }
}

/// Whether a volume is the root of the machine, or a directory of its system.
fn mounts_machine(word: &str) -> bool {
    let source =
        word.split(',').find_map(|part| part.strip_prefix("source=").or_else(|| part.strip_prefix("src=")));
    let source = source
        .or_else(|| word.split_once(':').map(|(source, _)| source).filter(|source| source.starts_with('/')));
    matches!(
        source,
        Some("/" | "/etc" | "/root" | "/proc" | "/sys" | "/dev" | "/boot" | "/var/run" | "/home")
    )
}

/// Settings of git and of package managers that execute something, or trust whoever answers.
fn configures(command: &Command, sink: &mut Sink) {
    let words = command.inner();
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    let everywhere = has("--global") || has("--system");
    let found = match command.program() {
        "git" if has("config") => words.windows(2).any(|pair| {
            let (key, value) = (pair[0].to_ascii_lowercase(), pair[1].as_str());
            match key.as_str() {
                "core.sshcommand" | "core.fsmonitor" | "core.editor" | "core.pager" | "diff.external" => {
                    super::trees::reaches_out(value)
                        || value.contains("ProxyCommand")
                        || value.starts_with("/tmp")
                }
                "core.hookspath" => {
                    everywhere && !value.starts_with('~')
                        || value.starts_with("/tmp")
                        || value.starts_with("/dev")
                }
                "credential.helper" => {
                    value.starts_with('!') && (value.contains("cat") || super::trees::reaches_out(value))
                }
                "http.sslverify" => everywhere && value == "false",
                key if key.starts_with("alias.") => {
                    value.starts_with('!') && super::trees::reaches_out(value)
                }
                _ => false,
            }
        }),
        "pip" | "pip3" | "npm" | "yarn" if has("config") && has("set") => {
            let foreign = |word: &String| {
                word.starts_with("http://") && !word.contains("localhost") && !word.contains("127.0.0.1")
            };
            words.iter().any(foreign)
        }
        "systemctl" | "service" | "launchctl" => {
            const GUARDS: [&str; 12] = [
                "ufw",
                "firewalld",
                "apparmor",
                "auditd",
                "fail2ban",
                "rsyslog",
                "clamav-daemon",
                "iptables",
                "nftables",
                "falcon-sensor",
                "osqueryd",
                "selinux",
            ];
            (has("stop") || has("disable") || has("mask"))
                && words.iter().any(|word| GUARDS.contains(&word.trim_end_matches(".service")))
        }
        "iptables" | "nft" | "ip6tables" => has("-F") || has("--flush") || has("flush"),
        "auditctl" => has("-e") && has("0"),
        "crontab" => false,
        _ => false,
    };
    if found {
        sink.add("write.system", command.at, quote(&words.join(" ")));
    }
}

/// In a loop over somebody's files, each is encrypted and then destroyed.
fn hostage(command: &Command, whole: &Whole, sink: &mut Sink) {
    let words = command.inner();
    let crypts = match command.program() {
        "openssl" => {
            words.iter().any(|word| word == "enc" || word.starts_with("aes-"))
                && !words.iter().any(|word| word == "-d")
        }
        "gpg" | "gpg2" => command.has_option('c', "symmetric"),
        "7z" | "zip" => words.iter().any(|word| word.starts_with("-p") || word == "-P" || word == "-e"),
        "ccrypt" | "age" => true,
        _ => false,
    };
    if crypts && command.around != Around::Nothing && whole.destroys {
        sink.add("tree.destroy", command.at, "encrypts files and destroys what they were");
    }
}

fn hex(command: &Command) -> bool {
    command.words.iter().any(|word| word.contains("x72") || word.contains("\\x"))
}

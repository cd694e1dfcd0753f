//! Rules of what a program does to other machines: shells that they are given, scans, floods, passwords that are tried.

use super::flows::FETCHES;
use super::{Sink, quote};
use crate::facts::{Around, Call, EACH, Facts, UNKNOWN, Value};
use crate::parameters::FUNCTION;
use std::collections::HashSet;

/// Applies the rules.
pub(super) fn apply(facts: &Facts, sink: &mut Sink) {
    reverse_shell(facts, sink);
    scans(facts, sink);
    floods(facts, sink);
}

/// Names and passwords that are tried one after the other.
pub(super) fn guesses_passwords(call: &Call, sink: &mut Sink) {
    if call.around == Around::Nothing {
        return;
    }
    let tries =
        matches!(call.method(), "connect" | "login" | "get" | "post" | "authenticate" | "request" | "head");
    // A list of accounts has a name for each password; whoever guesses has one name and many.
    let varies = |value: Option<&Value>| value.is_some_and(|value| value.is_of(&[EACH]));
    let listed = |value: &Value| {
        value.is_of(&["open", "itertools.product", "itertools.permutations", "range"])
            || value.files().next().is_some()
    };
    let name = ["username", "user", "host", "hostname"].iter().any(|key| varies(call.named(key)));
    let guesses = |value: Option<&Value>, name: bool| varies(value) && (!name || value.is_some_and(listed));
    let first = name || varies(call.args.first());
    let once = |value: &&Value| value.calls.iter().filter(|from| *from == EACH).count() == 1 || listed(value);
    let password = ["password", "passwd", "pwd"].iter().any(|key| guesses(call.named(key), first))
        || guesses(call.named("auth").filter(once), false);
    let second = call.method() == "login" && guesses(call.args.get(1), first);
    let logs_in = call.method() == "post"
        && ["login", "signin", "sign-in", "/auth", "verify", "otp"]
            .iter()
            .any(|word| call.arg(0).contains(word))
        && ["data", "json"].iter().any(|key| {
            call.named(key).filter(|value| value.is_of(&[EACH])).is_some_and(|value| once(&value))
        });
    if logs_in {
        sink.add("network.scan", call.at, "tries passwords");
    }
    if tries && (password || second) {
        sink.add("network.scan", call.at, "tries passwords");
    }
}

fn reverse_shell(facts: &Facts, sink: &mut Sink) {
    let first =
        |found: &dyn Fn(&Call) -> bool| facts.calls.iter().find(|call| found(call)).map(|call| call.at);
    let connects = first(&|call| {
        matches!(
            call.method(),
            "connect"
                | "create_connection"
                | "createConnection"
                | "accept"
                | "createServer"
                | "listen"
                | "Socket"
        ) && (call.name.contains("socket") || call.name.starts_with("net.") || call.name.starts_with("tls."))
    });
    let shell = first(&|call| {
        call.name == "os.dup2"
            || call.name == "pty.spawn"
            || call.values().any(|value| {
                matches!(
                    value.text.split(' ').next(),
                    Some("/bin/sh" | "/bin/bash" | "bash" | "sh" | "cmd.exe" | "powershell")
                )
            }) && (call.name.starts_with("subprocess")
                || call.name.starts_with("child_process")
                || call.name.starts_with("os."))
    });
    let command_loop = first(&|call| {
        (call.name.starts_with("subprocess.")
            || call.name.starts_with("os.popen")
            || call.name == "os.system"
            || call.name == "child_process.exec")
            && call.values().any(|value| value.calls.iter().any(|from| from.contains("recv")))
    });
    if connects.is_some()
        && let Some(at) = shell.or(command_loop)
    {
        sink.add("shell.reverse", at, "");
    }
}

/// Many threads that ask another machine for ever, and take nothing of what it answers.
fn floods(facts: &Facts, sink: &mut Sink) {
    let many = |call: &&Call| {
        call.around != Around::Nothing
            && matches!(call.method(), "Thread" | "Process" | "submit" | "create_task" | "start_new_thread")
    };
    let function =
        |value: &Value| value.calls.iter().find_map(|from| from.strip_prefix(FUNCTION)).map(str::to_owned);
    let started: HashSet<String> =
        facts.calls.iter().filter(many).filter_map(|call| call.values().find_map(function)).collect();
    if started.is_empty() {
        return;
    }
    let within = |call: &Call| call.within.as_ref().is_some_and(|within| started.contains(within));
    let patient: HashSet<&String> = facts
        .calls
        .iter()
        .filter(|call| call.method() == "sleep" && within(call))
        .filter_map(|call| call.within.as_ref())
        .collect();
    for call in facts.calls.iter().filter(|call| within(call) && !call.used && call.around != Around::Nothing)
    {
        let asks = FETCHES.contains(&call.name.as_str()) || call.method() == "sendto";
        if asks && call.within.as_ref().is_some_and(|within| !patient.contains(within)) {
            sink.add("network.scan", call.at, "asks another machine without end, from many threads");
        }
    }
}

fn scans(facts: &Facts, sink: &mut Sink) {
    for call in &facts.calls {
        let connects =
            matches!(call.method(), "connect_ex" | "connect" | "create_connection" | "createConnection")
                && (call.name.contains("socket") || call.name.starts_with("net."));
        // Another number each time; the same again is patience, and a list of names is a list of friends.
        let counts =
            |value: &Value| value.calls.iter().any(|from| from == "range" || from.ends_with(".hosts"));
        let connects = connects || call.name == "asyncio.open_connection";
        // One of a network's addresses, and nobody knows which.
        let anywhere = |value: &Value| {
            let host = value.text.split(' ').next().unwrap_or_default();
            let host = host.trim_start_matches("http://").trim_start_matches("https://");
            let begin =
                ["10.", "192.168.", "172.1", "172.2", "172.3"].iter().any(|begin| host.starts_with(begin));
            begin && host.contains(UNKNOWN) && value.calls.iter().any(|from| from == "range")
        };
        let handed = call.within.is_some() && call.method() != "connect";
        let asks = matches!(
            call.name.as_str(),
            "telnetlib.Telnet" | "ftplib.FTP" | "requests.get" | "urllib.request.urlopen" | "pymysql.connect"
        ) || call.name.starts_with("paramiko.") && call.method() == "connect";
        let numbered = |value: &Value| value.text.starts_with(UNKNOWN) && counts(value);
        let logs_in = asks && !matches!(call.name.as_str(), "requests.get" | "urllib.request.urlopen");
        if asks && call.values().any(anywhere) || logs_in && call.args.first().is_some_and(numbered) {
            sink.add("network.scan", call.at, quote(&call.name));
        }
        if connects
            && (call.values().any(anywhere)
                || (call.around != Around::Nothing || handed) && call.values().any(counts))
        {
            sink.add("network.scan", call.at, quote(&call.name));
        }
    }
}

//! Rules of processes and resources: bombs, loops, kills, and the commands that are handed to a shell.

use super::{Sink, quote};
use crate::facts::{Around, Call, Facts, OWN_FILE};
use crate::parameters::FUNCTION;

/// Calls that start a process or a thread.
const STARTS: [&str; 20] = [
    "os.fork",
    "os.forkpty",
    "multiprocessing.Process().start",
    "multiprocessing.Process",
    "threading.Thread().start",
    "threading.Thread",
    "subprocess.Popen",
    "child_process.fork",
    "child_process.spawn",
    "child_process.exec",
    "cluster.fork",
    "Worker",
    "worker_threads.Worker",
    "posix.fork",
    "os.spawnl",
    "os.posix_spawn",
    "_thread.start_new_thread",
    "thread.start_new_thread",
    "os.spawnvp",
    "os.spawnlp",
];
/// Calls that hand a command to the system.
pub(super) const SHELLS: [&str; 24] = [
    "os.system",
    "os.popen",
    "subprocess.run",
    "subprocess.call",
    "subprocess.Popen",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "commands.getoutput",
    "child_process.exec",
    "child_process.execSync",
    "child_process.spawn",
    "child_process.spawnSync",
    "child_process.execFile",
    "child_process.execFileSync",
    "asyncio.create_subprocess_shell",
    "asyncio.create_subprocess_exec",
    "os.execvp",
    "os.execv",
    "os.execl",
    "os.execlp",
    "pty.spawn",
    "posix.system",
];
/// More of anything than a sandbox has.
const HUGE: f64 = 1e10;

/// The commands that calls hand to a shell: text, where, in which loop.
pub fn commands_of(facts: &Facts) -> Vec<(String, usize, Around)> {
    let handed = facts.calls.iter().filter(|call| {
        SHELLS.contains(&call.name.as_str())
            || call.name.ends_with(".os.system")
            || call.name.ends_with("Deno.Command")
    });
    handed
        .filter_map(|call| {
            let first = call.arg(0);
            let second = call.args.get(1).filter(|_| {
                call.name.starts_with("child_process")
                    || call.name.starts_with("os.exec")
                    || call.name.starts_with("asyncio")
            });
            let many = second.map_or(call.args.first().is_some_and(|value| value.many), |args| args.many);
            let text = match second {
                Some(args) => format!("{first} {}", args.text),
                None => first.to_owned(),
            };
            let text = if many { program_of(&text).to_owned() } else { text };
            let known = text.chars().any(|c| c.is_ascii_alphabetic());
            known.then_some((text, call.at, call.around))
        })
        .collect()
}

/// What a shell is given as a list: `bash -c` and one text, which is the program.
fn program_of(list: &str) -> &str {
    let mut words = list.splitn(3, ' ');
    let shell = words.next().is_some_and(|word| {
        matches!(crate::facts::last_part(word, b'/'), "sh" | "bash" | "zsh" | "dash" | "ksh")
    });
    let option = words.next().is_some_and(|word| word.starts_with('-') && word.ends_with('c'));
    words.next().filter(|_| shell && option).unwrap_or(list)
}

/// Applies the rules of processes and resources.
pub fn apply(facts: &Facts, sink: &mut Sink) {
    for call in &facts.calls {
        let starts = STARTS.contains(&call.name.as_str());
        // Whoever forks and does not ask which of the two it is, is both of them in the next round.
        let blind = call.name.ends_with("os.fork") && call.around != Around::Nothing && !call.used;
        if starts && call.around == Around::Endless || blind || call.name == "posix.fork" {
            sink.add("fork.bomb", call.at, quote(&call.name));
        }
        // A function that starts itself.
        let itself = |value: &crate::facts::Value| {
            let own = call.within.as_deref();
            value.calls.iter().any(|from| own.is_some() && from.strip_prefix(FUNCTION) == own)
        };
        if starts && call.values().any(itself) && !call.chosen {
            sink.add("fork.bomb", call.at, quote(&call.name));
        }
        // What a timer starts many times in a second.
        let starter = facts.calls.len() < 20_000 && call.name == "setInterval";
        if starter && call.args.get(1).and_then(|every| every.number).is_some_and(|every| every <= 100.0) {
            let inside = |other: &&Call| {
                let asks = matches!(other.name.as_str(), "fetch" | "http.get" | "https.get" | "axios.get")
                    || other.name.starts_with("dgram.") && other.method() == "send";
                let often =
                    call.args.get(1).and_then(|every| every.number).is_some_and(|every| every <= 10.0);
                other.at > call.at
                    && other.at < call.at + 400
                    && (STARTS.contains(&other.name.as_str()) || asks && often)
            };
            let next = facts.calls.partition_point(|other| other.at < call.at);
            if let Some(other) = facts.calls[next..].iter().take(8).find(inside) {
                let rule = if STARTS.contains(&other.name.as_str()) { "fork.bomb" } else { "network.scan" };
                sink.add(rule, other.at, quote(&other.name));
            }
        }
        let forks =
            call.name.ends_with(".fork") && call.name.contains("CDLL") && call.around != Around::Nothing;
        if forks {
            sink.add("fork.bomb", call.at, quote(&call.name));
        }
        if is_self(call) {
            sink.add("fork.bomb", call.at, quote(call.arg(0)));
        }
        bombs(call, sink);
        kills(call, sink);
        registers(call, sink);
    }
    for command in &facts.commands {
        // `command ls` in a function `ls` is not the function.
        let first = command.words.first();
        let own = first.is_some_and(|first| !first.is_empty() && command.function.as_ref() == Some(first));
        let piped = command.fed_by.iter().any(|name| Some(name) == command.function.as_ref());
        if own && (piped || command.background) {
            sink.add("fork.bomb", command.at, quote(command.program()));
        } else if own && !command.chosen {
            sink.add("loop.endless", command.at, quote(command.program()));
        } else if command.background && command.around == Around::Endless {
            sink.add("fork.bomb", command.at, quote(command.program()));
        }
        if command.words.first().is_some_and(|word| word == "$0" || word == "./$0") && command.background {
            sink.add("fork.bomb", command.at, "the script itself");
        }
        let words = command.inner();
        let endless_source = words.iter().any(|word| {
            matches!(
                word.as_str(),
                "/dev/zero" | "/dev/urandom" | "/dev/random" | "if=/dev/zero" | "if=/dev/urandom"
            )
        });
        let bounded = words.iter().any(|word| {
            word.starts_with("count=")
                || word == "-c"
                || word == "-n"
                || word.starts_with("-c") && word.len() > 2
        });
        let writes = command
            .redirects
            .iter()
            .any(|redirect| redirect.operator.contains('>') && redirect.target != "/dev/null");
        if endless_source
            && !bounded
            && (matches!(command.program(), "dd" | "cp") || writes && command.program() == "cat")
            || command.program() == "yes" && (writes || command.background)
            || endless_source && !bounded && matches!(command.program(), "tail" | "sort" | "grep" | "tac")
        {
            sink.add("resource.bomb", command.at, quote(command.program()));
        }
        let sized = |word: &String| big(word.trim_start_matches("-l").trim_start_matches("-s"));
        if matches!(command.program(), "fallocate" | "truncate") && words.iter().any(sized) {
            sink.add("resource.bomb", command.at, quote(command.program()));
        }
        if command.program() == "stress" || command.program() == "stress-ng" {
            sink.add("resource.bomb", command.at, quote(command.program()));
        }
    }
    facts.endless.iter().for_each(|endless| sink.add("loop.endless", endless.at, ""));
    facts.recursive.iter().for_each(|at| sink.add("loop.endless", *at, "calls itself without a choice"));
}

/// A size in words of the shell that no sandbox has: 100G, 1T.
fn big(word: &str) -> bool {
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    let Ok(number) = digits.parse::<u64>() else { return false };
    match word[digits.len()..].chars().next() {
        Some('G' | 'g') => number >= 20,
        Some('T' | 't' | 'P' | 'E') => true,
        _ => false,
    }
}

/// Whether a program starts itself again.
fn is_self(call: &Call) -> bool {
    let starts = call.name.starts_with("subprocess.")
        || call.name.starts_with("child_process.")
        || call.name.starts_with("os.spawn")
        || call.name == "os.system";
    // One that a choice decides about tells its copy to do something else.
    starts
        && (!call.chosen || call.around == Around::Endless)
        && call.args.iter().any(|value| value.text.split(' ').any(|word| word == OWN_FILE))
}

fn bombs(call: &Call, sink: &mut Sink) {
    let allocates = match call.name.as_str() {
        "(repeat)" | "bytearray" | "bytes" | "Buffer.alloc" | "Buffer.allocUnsafe" | "Array"
        | "Uint8Array" | "ArrayBuffer" | "Float64Array" | "SharedArrayBuffer" => {
            call.args.first().and_then(|value| value.number)
        }
        "numpy.zeros" | "numpy.ones" | "numpy.empty" | "numpy.full" => call.args.first().map(|value| {
            value.number.unwrap_or_else(|| {
                value.text.split(' ').filter_map(|part| part.parse::<f64>().ok()).product()
            })
        }),
        _ if call.method() == "repeat" || call.method() == "fill" => {
            call.args.first().and_then(|value| value.number)
        }
        "os.truncate" | "os.ftruncate" | "fs.truncateSync" | "os.posix_fallocate" => {
            call.args.last().and_then(|value| value.number)
        }
        _ if call.method() == "seek" || call.method() == "truncate" => {
            call.args.first().and_then(|value| value.number)
        }
        _ => None,
    };
    // The typed arrays of JavaScript end at 2^53; what a sandbox has ends long before.
    let most = if call.name == "Array" { f64::MAX } else { HUGE };
    if allocates.is_some_and(|size| {
        size >= most.min(if matches!(call.name.as_str(), "Buffer.alloc" | "Uint8Array" | "ArrayBuffer") {
            4e9
        } else {
            HUGE
        })
    }) {
        sink.add("resource.bomb", call.at, quote(&call.name));
    }
}

/// The keys of a system's registry from which things are started.
fn registers(call: &Call, sink: &mut Sink) {
    let opens = matches!(call.method(), "OpenKey" | "CreateKey" | "OpenKeyEx" | "CreateKeyEx");
    let starts = |value: &crate::facts::Value| {
        value.text.contains("CurrentVersion\\Run")
            || value.text.contains("Winlogon")
            || value.text.contains("CurrentControlSet\\Services")
    };
    let writes = |value: &crate::facts::Value| {
        value.calls.iter().any(|from| {
            from.ends_with("KEY_SET_VALUE") || from.ends_with("KEY_ALL_ACCESS") || from.ends_with("KEY_WRITE")
        })
    };
    if opens
        && call.values().any(starts)
        && (call.method().starts_with("Create") || call.values().any(writes))
    {
        sink.add("write.system", call.at, quote(&call.name));
    }
}

fn kills(call: &Call, sink: &mut Sink) {
    let target = call.args.first().and_then(|value| value.number);
    let kills = matches!(call.name.as_str(), "os.kill" | "process.kill" | "os.killpg");
    let through_list = call.name == "os.kill"
        && call
            .args
            .first()
            .is_some_and(|value| value.is_of(&["os.listdir", "range", "psutil.pids", "glob.glob"]));
    if kills && (target.is_some_and(|pid| pid <= 1.0) || through_list) {
        sink.add("process.kill", call.at, quote(&call.name));
    }
    if call.name.starts_with("psutil.process_iter") && matches!(call.method(), "kill" | "terminate") {
        sink.add("process.kill", call.at, quote(&call.name));
    }
}

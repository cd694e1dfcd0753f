//! Rules of the file tree: what is deleted, and what is written outside the workspace.

use super::processes::SHELLS;
use super::{Sink, quote};
use crate::facts::{Around, Call, Command, EACH, Facts, OWN_FILE, UNKNOWN, Value};
use crate::place::{Place, is_personal, is_wide, place, starts_things};

/// Calls that delete the path they are given, or that are methods of a path.
const DELETES: [&str; 26] = [
    "shutil.rmtree",
    "os.remove",
    "os.unlink",
    "os.removedirs",
    "os.rmdir",
    "pathlib.Path().unlink",
    "pathlib.Path().rmdir",
    "fs.rm",
    "fs.rmSync",
    "fs.rmdir",
    "fs.rmdirSync",
    "fs.unlink",
    "fs.unlinkSync",
    "rimraf",
    "rimraf.sync",
    "fs.removeSync",
    "fs.remove",
    "fs.emptyDirSync",
    "Deno.remove",
    "send2trash.send2trash",
    "os.truncate",
    "fs.truncateSync",
    "pathlib.Path.unlink",
    "rimrafSync",
    "Deno.removeSync",
    "del",
];
/// Calls that list a tree.
const LISTS: [&str; 17] = [
    "os.walk",
    "os.scandir",
    "os.listdir",
    "glob.glob",
    "glob.iglob",
    "pathlib.Path().rglob",
    "pathlib.Path().glob",
    "pathlib.Path().iterdir",
    "pathlib.Path.home().rglob",
    "fs.readdirSync",
    "fs.readdir",
    "pathlib.Path.home().glob",
    "pathlib.Path.home().iterdir",
    "Deno.readDir",
    "os.fwalk",
    "fs.opendirSync",
    "Deno.readDirSync",
];
/// Calls that write to their first argument; those of a path write to that.
const WRITES: [&str; 18] = [
    "fs.writeFile",
    "fs.writeFileSync",
    "fs.appendFile",
    "fs.appendFileSync",
    "fs.createWriteStream",
    "pathlib.Path().write_text",
    "pathlib.Path().write_bytes",
    "pathlib.Path().touch",
    "pathlib.Path().chmod",
    "os.chmod",
    "os.chown",
    "fs.chmodSync",
    "fs.chmod",
    "Deno.writeTextFile",
    "Deno.writeFile",
    "fs.chownSync",
    "Deno.writeTextFileSync",
    "fs.outputFileSync",
];
/// Calls that write to their second argument.
const COPIES: [&str; 18] = [
    "shutil.copy",
    "shutil.copyfile",
    "shutil.copy2",
    "shutil.copytree",
    "shutil.move",
    "os.rename",
    "os.replace",
    "os.symlink",
    "os.link",
    "fs.copyFile",
    "fs.copyFileSync",
    "fs.rename",
    "fs.renameSync",
    "fs.symlinkSync",
    "fs.cpSync",
    "fs.symlink",
    "fs.linkSync",
    "fs.cp",
];
/// Encryption of what is then written back.
const ENCRYPTS: [&str; 6] = ["encrypt", "createCipheriv", "new", "update", "encryptor", "xor"];

/// Applies the rules of trees.
pub fn apply(facts: &Facts, sink: &mut Sink) {
    for call in &facts.calls {
        call_on_tree(call, facts, sink);
        spreads(call, sink);
        deletes_found(call, sink);
    }
    let wide = facts.calls.iter().find(|call| lists(&call.name) && is_wide(subject(call)));
    let anywhere = facts.calls.iter().find(|call| lists(&call.name));
    if let Some(list) = wide {
        // Only what the list gave: a report of what was found is written elsewhere.
        let is_listed = |call: &Call| {
            LISTS.iter().any(|list| call.name.starts_with(&format!("{list}()")))
                || is_found(&call.receiver)
                || call.args.first().is_some_and(is_found)
        };
        let ruins = |call: &&Call| {
            is_listed(call)
                && (DELETES.contains(&call.name.as_str())
                    || matches!(
                        call.method(),
                        "unlink"
                            | "rmdir"
                            | "write_bytes"
                            | "rename"
                            | "unlinkSync"
                            | "writeFileSync"
                            | "renameSync"
                            | "rmSync"
                    )
                    || call.name == "open" && mode(call).contains(['w', '+']))
        };
        if let Some(call) = facts.calls.iter().find(ruins) {
            sink.add("tree.destroy", call.at, quote(subject(list)));
        }
    }
    let kept = facts.calls.iter().find(|call| lists(&call.name) && is_personal(subject(call)));
    if let Some(list) = kept {
        let listed = |call: &&Call| is_found(&call.receiver) || call.args.first().is_some_and(is_found);
        let spoils = |call: &&Call| {
            !call.chosen
                && listed(call)
                && (DELETES.contains(&call.name.as_str())
                    || matches!(call.method(), "unlink" | "write_bytes" | "unlinkSync")
                    || call.name == "open" && (mode(call).starts_with('w') || mode(call).contains('+')))
        };
        if let Some(call) = facts.calls.iter().find(spoils) {
            sink.add("tree.destroy", call.at, quote(subject(list)));
        }
    }
    // What walks a tree, encrypts and writes back takes the files hostage, wherever they are.
    if let Some(list) = anywhere {
        let crypts = facts.calls.iter().any(|call| {
            ENCRYPTS[..2].contains(&call.method())
                || call.name.contains("Fernet")
                || call.name.contains("AES.new")
        });
        let writes = facts.calls.iter().any(|call| {
            call.name == "open" && mode(call).contains(['w', '+'])
                || WRITES.contains(&call.name.as_str())
                || matches!(call.method(), "write_bytes" | "write")
        });
        if crypts && writes {
            sink.add("tree.destroy", list.at, "encrypts the files that it finds");
        }
    }
    facts.commands.iter().for_each(|command| command_on_tree(command, sink));
}

/// Whether a call lists a tree.
fn lists(name: &str) -> bool {
    LISTS.contains(&name)
        || name.starts_with("pathlib.")
            && [".rglob", ".glob", ".iterdir", ".walk"].iter().any(|method| name.ends_with(method))
}

/// Whether a value is one of what a search found.
fn is_found(value: &Value) -> bool {
    value.calls.iter().any(|from| lists(from))
}

/// A shell is told to delete what a search found, and the search was as wide as a system.
fn deletes_found(call: &Call, sink: &mut Sink) {
    let deletes = |value: &Value| value.text.starts_with("rm -") && value.files().any(is_wide);
    if SHELLS.contains(&call.name.as_str()) && call.args.first().is_some_and(deletes) {
        sink.add("tree.destroy", call.at, quote(call.arg(0)));
    }
}

/// Whether a program puts itself where it found something, or into what it found.
fn spreads(call: &Call, sink: &mut Sink) {
    let own = |value: &Value| value.text == OWN_FILE || value.files().any(|file| file == OWN_FILE);
    if !call.args.iter().take(2).any(own) {
        return;
    }
    let copies = COPIES.contains(&call.name.as_str())
        && call.arg(0) == OWN_FILE
        && call.args.get(1).is_some_and(|to| is_found(to) || to.is_of(&[EACH]));
    let into = is_found(&call.receiver)
        || call.receiver.calls.iter().any(|from| from == "open") && call.receiver.is_of(&[EACH]);
    let writes = matches!(call.method(), "write" | "write_text" | "write_bytes" | "writelines")
        && into
        && call.args.first().is_some_and(|text| text.files().any(|file| file == OWN_FILE));
    let writes_file = WRITES.contains(&call.name.as_str())
        && call.args.first().is_some_and(|to| is_found(to) || to.is_of(&[EACH]))
        && call.args.get(1).is_some_and(|text| text.files().any(|file| file == OWN_FILE));
    if copies || writes || writes_file {
        sink.add("write.system", call.at, "the program puts a copy of itself where it finds a place");
    }
}

/// The path that a call is about.
fn subject(call: &Call) -> &str {
    let own = call.name.starts_with("pathlib.") || call.name.contains("Path");
    if own && !call.receiver.text.is_empty() { &call.receiver.text } else { call.arg(0) }
}

fn mode(call: &Call) -> &str {
    call.named("mode").map_or(call.arg(1), |mode| &mode.text)
}

fn call_on_tree(call: &Call, facts: &Facts, sink: &mut Sink) {
    let name = call.name.as_str();
    if DELETES.contains(&name) {
        let path = subject(call);
        let whole = is_wide(path) || place(path) == Place::Everything;
        if whole {
            sink.add("tree.destroy", call.at, quote(path));
        } else if matches!(place(path), Place::System | Place::Home | Place::Outside) {
            sink.add("write.outside", call.at, quote(path));
        }
        return;
    }
    let opens = matches!(
        name,
        "open"
            | "io.open"
            | "builtins.open"
            | "codecs.open"
            | "gzip.open"
            | "fs.openSync"
            | "fs.open"
            | "os.open"
    );
    let flags = call.values().any(|value| {
        value.calls.iter().any(|name| name.starts_with("os.O_W") || name.starts_with("os.O_RDWR"))
    });
    let path = if opens && (mode(call).starts_with(['w', 'a', 'x']) || mode(call).contains('+') || flags) {
        call.arg(0)
    } else if WRITES.contains(&name) || matches!(call.method(), "write_text" | "write_bytes") {
        subject(call)
    } else if matches!(call.method(), "to_csv" | "to_json" | "to_pickle" | "savefig" | "extractall") {
        call.arg(0)
    } else if COPIES.contains(&name) {
        call.arg(1)
    } else {
        return;
    };
    // What every start of an interpreter reads.
    let site = path.ends_with(".pth")
        && call.args.first().is_some_and(|value| value.calls.iter().any(|from| from.starts_with("site.")));
    if site {
        sink.add("write.system", call.at, quote(path));
    }
    written(path, call.at, sink);
    hooked(path, call, facts, sink);
    if opens && path.starts_with("/dev/") && place(path) == Place::System {
        sink.add("tree.destroy", call.at, quote(path));
    }
    let grows = call.around == Around::Endless && facts.endless.is_empty();
    if grows && place(path) != Place::Own {
        sink.add("resource.bomb", call.at, quote(path));
    }
}

/// A hook of git is its owner's to write, unless it fetches something, or lies where the program only happened to find it.
fn hooked(path: &str, call: &Call, facts: &Facts, sink: &mut Sink) {
    if !path.contains(".git/hooks") && !path.contains("/hooks/post-") && !path.contains("/hooks/pre-") {
        return;
    }
    let next = facts.calls.partition_point(|other| other.at < call.at);
    let near = facts.calls[next..].iter().take(6).chain([call]);
    let text = near.flat_map(Call::values).any(|value| reaches_out(&value.text));
    let far = matches!(place(path), Place::Home | Place::Outside | Place::System);
    if text || far && call.around != Around::Nothing {
        sink.add("write.system", call.at, quote(path));
    }
}

/// Whether a text that others execute reaches for another machine, or hides what it does.
pub(super) fn reaches_out(text: &str) -> bool {
    [
        "curl ",
        "wget ",
        "/dev/tcp",
        "nc -",
        "ncat ",
        "base64 -d",
        "http://",
        "urlopen",
        "| sh",
        "|sh",
        "| bash",
        "|bash",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// Something is written to `path`.
fn written(path: &str, at: usize, sink: &mut Sink) {
    let kind = place(path);
    if starts_things(path) || kind == Place::System {
        let soft = (path.starts_with("/home/")
            || path.starts_with("/opt/")
            || path.starts_with("/var/log")
            || path.starts_with("/srv/"))
            && !starts_things(path)
            && !is_record(path);
        sink.add(if soft { "write.outside" } else { "write.system" }, at, quote(path));
    } else if matches!(kind, Place::Outside | Place::Home) {
        sink.add("write.outside", at, quote(path));
    }
}

fn command_on_tree(command: &Command, sink: &mut Sink) {
    for redirect in command.redirects.iter().filter(|redirect| redirect.operator.contains('>')) {
        if redirect.target.starts_with("/dev/sd") || redirect.target.starts_with("/dev/nvme") {
            sink.add("tree.destroy", command.at, quote(&redirect.target));
        }
        if is_tame(command) && place(&redirect.target) == Place::Home {
            sink.add("write.outside", command.at, quote(&redirect.target));
        } else {
            written(&redirect.target, command.at, sink);
        }
        let words = || command.words.iter().any(|word| reaches_out(word));
        if redirect.target.contains("/hooks/") && (command.around != Around::Nothing || words()) {
            sink.add("write.system", command.at, quote(&redirect.target));
        }
    }
    let at = command.at;
    let operands: Vec<&str> = command.operands().collect();
    let far = |path: &&&str| is_wide(path) || place(path) == Place::Everything;
    let outside = |path: &&str| matches!(place(path), Place::System | Place::Home | Place::Outside);
    match command.program() {
        program if formats(program) => {
            // A disk, or what may be one; a file with a file system in it is a file.
            let path = operands.iter().find(|path| path.starts_with("/dev/") || path.contains(UNKNOWN));
            if let Some(path) = path.filter(|_| !command.has_option('l', "list")) {
                sink.add("tree.destroy", at, quote(path));
            }
        }
        "rm" | "rmdir" | "unlink" | "srm" => {
            let deep = command.has_option('r', "recursive") || command.has_option('R', "");
            let path = operands.iter().find(|path| is_wide(path) || deep && place(path) == Place::Everything);
            let forced = command.has_option('\0', "no-preserve-root");
            if let Some(path) = path.or(operands.first().filter(|_| forced)) {
                sink.add("tree.destroy", at, quote(path));
            } else if let Some(path) = operands.iter().find(|path| outside(path)) {
                sink.add("write.outside", at, quote(path));
            }
        }
        "find" => {
            let empties = command
                .inner()
                .windows(2)
                .any(|pair| pair[0].starts_with("-exec") && matches!(&*pair[1], "truncate" | "dd"));
            let deletes = empties || command.inner().iter().any(|word| word == "-delete");
            let removes = command
                .inner()
                .windows(2)
                .any(|pair| pair[0].starts_with("-exec") && matches!(&*pair[1], "rm" | "shred"));
            if let Some(path) = operands.first().filter(|path| (deletes || removes) && is_wide(path)) {
                sink.add("tree.destroy", at, quote(path));
            }
        }
        "shred" | "truncate" | "wipe" => {
            if let Some(path) = operands.iter().find(far) {
                sink.add("tree.destroy", at, quote(path));
            } else if let Some(path) = operands.iter().find(|path| is_record(path)) {
                sink.add("write.system", at, quote(path));
            }
        }
        "mv" | "cp" | "install" | "ln" if operands.len() > 1 => {
            if command.program() == "mv" && is_wide(operands[0]) {
                sink.add("tree.destroy", at, quote(operands[0]));
            }
            operands.last().into_iter().for_each(|path| written(path, at, sink));
        }
        "tee" => operands.iter().for_each(|path| written(path, at, sink)),
        "touch" | "mkdir" | "chmod" | "chown" | "chattr" => {
            operands
                .iter()
                .filter(|path| place(path) == Place::System)
                .for_each(|path| written(path, at, sink));
        }
        "sed" if command.has_option('i', "in-place") => {
            operands.iter().skip(1).for_each(|path| written(path, at, sink))
        }
        "dd" => {
            let to = command.inner().iter().find_map(|word| word.strip_prefix("of="));
            if let Some(path) = to.filter(|path| place(path) == Place::System) {
                sink.add("tree.destroy", at, quote(path));
            }
        }
        _ => {}
    }
}

/// Whether a file is a system's record of who did what.
fn is_record(path: &str) -> bool {
    const RECORDS: [&str; 9] =
        ["auth.log", "syslog", "wtmp", "btmp", "utmp", "lastlog", "secure", "messages", "audit.log"];
    path.starts_with("/var/") && RECORDS.contains(&crate::facts::last_part(path, b'/'))
        || path.ends_with("/.bash_history")
        || path.ends_with("/.zsh_history")
}

/// Whether a program makes a disk empty.
fn formats(program: &str) -> bool {
    matches!(program, "wipefs" | "mke2fs" | "fdisk" | "parted" | "sgdisk" | "blkdiscard" | "mkfs")
        || program.starts_with("mkfs.")
}

/// Whether a command prints a line that people have in their shell's start file: a path, an alias, a completion. One that starts or
/// fetches something is none, nor one that stands in for what asks for a password.
fn is_tame(command: &Command) -> bool {
    const BEGINS: [&str; 9] =
        ["export ", "alias ", "source ", ". ", "#", "PATH=", "eval \"$(", "complete ", "setopt "];
    const STARTS: [&str; 14] = [
        "curl",
        "wget",
        "/dev/tcp",
        "nc ",
        "base64",
        "python",
        "perl",
        "sh -",
        "rm ",
        "&",
        "| ",
        "alias su",
        "alias ssh",
        "LD_PRELOAD",
    ];
    let line = command.words.get(1..).unwrap_or_default().join(" ");
    let line = line.trim_start();
    matches!(command.program(), "echo" | "printf")
        && BEGINS.iter().any(|begin| line.starts_with(begin))
        && !STARTS.iter().any(|start| line.contains(start))
}

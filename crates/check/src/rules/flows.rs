//! Rules of flows: secrets that are sent, and text that becomes code.

use super::{Sink, quote};
use crate::facts::{Around, Call, Command, Facts};

/// Calls that turn text into code.
const EXECUTES: [&str; 16] = [
    "exec",
    "eval",
    "builtins.exec",
    "builtins.eval",
    "compile",
    "__builtins__.exec",
    "__builtins__.eval",
    "globals().exec",
    "Function",
    "vm.runInThisContext",
    "vm.runInNewContext",
    "vm.runInContext",
    "vm.Script",
    "types.FunctionType",
    "runpy.run_path",
    "module._compile",
];
/// Calls that undo an encoding.
const DECODES: [&str; 26] = [
    "base64.b64decode",
    "base64.urlsafe_b64decode",
    "base64.b32decode",
    "base64.b16decode",
    "base64.b85decode",
    "base64.a85decode",
    "codecs.decode",
    "bytes.fromhex",
    "zlib.decompress",
    "lzma.decompress",
    "bz2.decompress",
    "gzip.decompress",
    "marshal.loads",
    "binascii.unhexlify",
    "binascii.a2b_base64",
    "atob",
    "Buffer.from",
    "String.fromCharCode",
    "unescape",
    "decodeURIComponent",
    "pickle.loads",
    "chr",
    "bytearray.fromhex",
    "base64.decodebytes",
    "String.fromCodePoint",
    "pickle.load",
];
/// Calls whose result came over the network.
const FETCHES: [&str; 14] = [
    "requests.get",
    "requests.post",
    "urllib.request.urlopen",
    "httpx.get",
    "fetch",
    "axios.get",
    "http.get",
    "https.get",
    "urllib.request.urlretrieve",
    "got",
    "axios",
    "requests.request",
    "urllib.urlopen",
    "urllib2.urlopen",
];
/// Calls that send what they are given.
const SENDS: [&str; 24] = [
    "requests.post",
    "requests.put",
    "requests.patch",
    "httpx.post",
    "httpx.put",
    "axios.post",
    "axios.put",
    "urllib.request.urlopen",
    "urllib.request.Request",
    "socket.socket().send",
    "socket.socket().sendall",
    "socket.socket().sendto",
    "socket.create_connection().sendall",
    "smtplib.SMTP().sendmail",
    "smtplib.SMTP_SSL().sendmail",
    "smtplib.SMTP().send_message",
    "ftplib.FTP().storbinary",
    "requests.request",
    "http.request",
    "https.request",
    "requests.Session().post",
    "fetch",
    "requests.get",
    "navigator.sendBeacon",
];
/// Names that mean all of the environment.
const ENVIRONMENT: [&str; 5] =
    ["os.environ", "process.env", "os.environb", "Deno.env.toObject", "os.environ.copy"];
/// Commands that send what they read.
const SENDERS: [&str; 10] =
    ["curl", "wget", "nc", "ncat", "netcat", "socat", "telnet", "mail", "sendmail", "openssl"];
/// Shells and interpreters.
const INTERPRETERS: [&str; 14] = [
    "sh", "bash", "zsh", "dash", "ksh", "python", "python3", "perl", "ruby", "node", "php", "eval", "source",
    ".",
];

/// Applies the rules of flows.
pub fn apply(facts: &Facts, sink: &mut Sink) {
    let secret =
        sink.found.iter().any(|(rule, ..)| *rule == "credentials.path" || *rule == "environment.dump");
    for call in &facts.calls {
        becomes_code(call, sink);
        is_sent(call, secret, sink);
        introspects(call, sink);
        dumps(call, sink);
    }
    for (name, at) in &facts.names {
        if name.ends_with(".__subclasses__")
            || name.ends_with(".__globals__")
            || name.ends_with(".__bases__") && name.contains("__class__")
        {
            sink.add("code.introspection", *at, quote(name));
        }
        if name.ends_with("constructor.constructor") || name.starts_with("process.mainModule") {
            sink.add("code.introspection", *at, quote(name));
        }
    }
    reverse_shell(facts, sink);
    facts.commands.iter().for_each(|command| command_flows(command, facts, sink));
    listens(facts, sink);
}

fn becomes_code(call: &Call, sink: &mut Sink) {
    let name = call.name.as_str();
    let runs_shell = matches!(
        name,
        "os.system"
            | "os.popen"
            | "subprocess.run"
            | "subprocess.call"
            | "subprocess.Popen"
            | "subprocess.check_output"
            | "child_process.exec"
            | "child_process.execSync"
            | "child_process.spawn"
    );
    if !EXECUTES.contains(&name) && !runs_shell && !matches!(call.method(), "constructor" | "exec_module") {
        return;
    }
    let made_of = |list: &[&str]| {
        call.values().flat_map(|value| &value.calls).find(|from| list.contains(&from.as_str())).cloned()
    };
    if let Some(from) = made_of(&FETCHES) {
        sink.add("download.execute", call.at, quote(&from));
    } else if let Some(from) = made_of(&DECODES) {
        sink.add("code.obfuscated", call.at, quote(&from));
    } else if call.arg(0).contains("\\x") && call.arg(0).len() > 8
        || call
            .values()
            .any(|value| value.calls.iter().any(|from| from.ends_with(".decode") && from.contains("b64")))
    {
        sink.add("code.obfuscated", call.at, quote(call.arg(0)));
    }
    // A text that undoes its own encoding, or says a forbidden thing, when it is executed.
    if EXECUTES.contains(&name) && hides(call.arg(0)) {
        sink.add("code.obfuscated", call.at, quote(call.arg(0)));
    }
}

/// Whether a text that is executed does things that code does openly.
fn hides(text: &str) -> bool {
    [
        "__import__",
        "b64decode",
        "os.system",
        "subprocess",
        "child_process",
        "fromCharCode",
        "import os",
        "import socket",
        "rm -rf",
        "shutil.rmtree",
        "atob(",
    ]
    .iter()
    .any(|word| text.contains(word))
}

fn is_sent(call: &Call, secret: bool, sink: &mut Sink) {
    let name = call.name.as_str();
    let raw = matches!(
        call.method(),
        "send" | "sendall" | "sendto" | "sendmail" | "storbinary" | "send_message" | "sendBeacon"
    );
    if !SENDS.contains(&name)
        && !raw
        && !(call.method() == "write" && call.name.contains("request"))
        && !(call.method() == "post" && name.contains('.'))
    {
        return;
    }
    let takes = |list: &[&str]| {
        call.values().flat_map(|value| &value.calls).any(|from| {
            list.contains(&from.as_str()) || list.iter().any(|one| from.starts_with(&format!("{one}.")))
        })
    };
    let body = call
        .named("data")
        .or(call.named("files"))
        .or(call.named("json"))
        .or(call.named("body"))
        .or(call.named("content"));
    let reads = |from: &String| {
        matches!(
            from.as_str(),
            "open"
                | "fs.readFileSync"
                | "fs.readFile"
                | "open().read"
                | "pathlib.Path().read_text"
                | "pathlib.Path().read_bytes"
                | "open()"
                | "fs.createReadStream"
        ) || from.starts_with("subprocess.")
            || from.starts_with("os.popen")
            || from.ends_with(".check_output")
            || from.starts_with("child_process.")
            || from == "socket.gethostname"
            || from.ends_with("glob")
            || from == "os.listdir"
            || from == "os.walk"
            || from == "getpass.getuser"
    };
    let file = body.or(call.args.get(1)).is_some_and(|body| body.calls.iter().any(reads))
        || raw && call.values().any(|value| value.calls.iter().any(reads));
    if secret
        || file
        || takes(&ENVIRONMENT)
        || takes(&["os.getenv", "os.environ[]", "os.environ.get"])
            && body.is_some()
            && body.is_some_and(|body| {
                body.calls.iter().any(|from| from.starts_with("os.environ") || from == "os.getenv")
            })
    {
        sink.add("exfiltration", call.at, quote(&call.name));
    }
}

fn dumps(call: &Call, sink: &mut Sink) {
    let whole =
        |value: &crate::facts::Value| value.calls.iter().any(|from| ENVIRONMENT.contains(&from.as_str()));
    if matches!(
        call.name.as_str(),
        "dict"
            | "json.dumps"
            | "JSON.stringify"
            | "Object.entries"
            | "print"
            | "console.log"
            | "str"
            | "Object.assign"
            | "pprint.pprint"
            | "Object.keys"
    ) && call.values().any(whole)
    {
        sink.add("environment.dump", call.at, quote(&call.name));
    }
}

fn introspects(call: &Call, sink: &mut Sink) {
    let name = call.name.as_str();
    if name.contains(".constructor.constructor")
        || matches!(name, "sys._getframe" | "gc.get_objects" | "ctypes.pythonapi")
    {
        sink.add("code.introspection", call.at, quote(name));
    }
    // A name that was put together, where it could have been written.
    let put_together = matches!(name, "getattr" | "__import__" | "importlib.import_module")
        && call.values().any(|value| {
            value.calls.iter().any(|from| DECODES.contains(&from.as_str()) || from == "reversed")
        });
    if put_together {
        sink.add("code.obfuscated", call.at, quote(name));
    }
    if name.starts_with("__builtins__.")
        || name.starts_with("ctypes.CDLL().")
        || name.starts_with("ctypes.cdll")
    {
        let rule = if name.starts_with("ctypes") { "sandbox.probe" } else { "code.introspection" };
        if rule == "code.introspection"
            || matches!(
                call.method(),
                "system"
                    | "ptrace"
                    | "mount"
                    | "unshare"
                    | "setns"
                    | "syscall"
                    | "execve"
                    | "setuid"
                    | "kill"
                    | "fork"
            )
        {
            sink.add(rule, call.at, quote(name));
        }
    }
}

fn reverse_shell(facts: &Facts, sink: &mut Sink) {
    let first =
        |found: &dyn Fn(&Call) -> bool| facts.calls.iter().find(|call| found(call)).map(|call| call.at);
    let connects = first(&|call| {
        matches!(
            call.method(),
            "connect" | "create_connection" | "createConnection" | "accept" | "createServer" | "listen"
        ) && (call.name.contains("socket")
            || call.name.starts_with("net.")
            || call.method() == "connect"
            || call.method() == "accept")
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

fn listens(facts: &Facts, sink: &mut Sink) {
    for call in &facts.calls {
        let tries = matches!(call.method(), "connect_ex" | "connect" | "create_connection")
            && call.around != Around::Nothing
            && call.name.contains("socket");
        if tries {
            sink.add("network.scan", call.at, quote(&call.name));
        }
    }
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
    if SENDERS.contains(&program) && program != "openssl" {
        let carries = command.words.iter().any(|word| {
            word.starts_with('@')
                || word.contains("=@")
                || word.starts_with("--upload-file")
                || word == "-T"
                || word.starts_with("--post-file")
        });
        let piped = fed(&[
            "env", "printenv", "cat", "tar", "zip", "gzip", "base64", "history", "ls", "find", "whoami",
            "id", "hostname", "ps", "set", "grep", "dump", "xxd",
        ]);
        let read = command.redirects.iter().any(|redirect| redirect.operator == "<");
        if carries
            || piped
            || read
            || secret && command.words.iter().any(|word| word.contains("://") || word.contains('.'))
        {
            sink.add("exfiltration", at, quote(program));
        }
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

fn hex(command: &Command) -> bool {
    command.words.iter().any(|word| word.contains("x72") || word.contains("\\x"))
}

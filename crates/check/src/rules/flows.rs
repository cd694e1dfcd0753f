//! Rules of flows: secrets that are sent, and text that becomes code.

use super::networks;
use super::pipes::INTERPRETERS;
use super::processes::SHELLS;
use super::{Sink, quote};
use crate::facts::{Around, Call, Command, ENCODED, Facts, PIECES, RECEIVED, UNKNOWN, Value};
use crate::place::is_private;

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
pub(super) const FETCHES: [&str; 14] = [
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
const ENVIRONMENT: [&str; 7] = [
    "os.environ",
    "process.env",
    "os.environb",
    "Deno.env.toObject",
    "os.environ.copy",
    "os.environ.items",
    "os.environ.values",
];
/// What of a request is about how it is sent, not what: a key in a header is for whom it was given by.
const ENVELOPE: [&str; 8] =
    ["headers", "auth", "timeout", "method", "params", "cookies", "proxies", "verify"];
/// Rules of what is no business of another machine.
pub(super) const SECRETS: [&str; 2] = ["credentials.path", "history.read"];
/// Applies the rules of flows.
pub fn apply(facts: &Facts, sink: &mut Sink) {
    let secret = sink.found.iter().any(|(rule, ..)| SECRETS.contains(rule));
    let sends = facts.calls.iter().any(|call| call.method() == "post" || SENDS.contains(&call.name.as_str()));
    for call in &facts.calls {
        becomes_code(call, sink);
        unpacks(call, sink);
        gropes(call, sink);
        watches(call, sends, sink);
        is_sent(call, secret, sink);
        introspects(call, sink);
        dumps(call, sink);
    }
    for (name, at) in &facts.names {
        // A class may be asked for its subclasses; an escape first climbs from an object to the root of all classes.
        let climbs = ["__class__", "__base", "__mro__", "__init__"].iter().any(|step| name.contains(step))
            || name.starts_with('?')
            || name.starts_with("object.");
        let arrives = [".__subclasses__", ".__globals__", ".__bases__", ".__builtins__"];
        if climbs && arrives.iter().any(|end| name.ends_with(end)) && name.matches("__").count() > 2 {
            sink.add("code.introspection", *at, quote(name));
        }
        if name.contains("_getframe()") && (name.ends_with("f_globals") || name.ends_with("f_builtins")) {
            sink.add("code.introspection", *at, quote(name));
        }
        if name.ends_with("constructor.constructor") || name.starts_with("process.mainModule") {
            sink.add("code.introspection", *at, quote(name));
        }
    }
    networks::apply(facts, sink);
    executes_fetched(facts, sink);
}

fn becomes_code(call: &Call, sink: &mut Sink) {
    let name = call.name.as_str();
    let runs_shell = SHELLS.contains(&name) || name.ends_with(".os.system");
    if !EXECUTES.contains(&name) && !runs_shell && !matches!(call.method(), "constructor" | "exec_module") {
        return;
    }
    // What a command is given to read is not the command.
    let told = if runs_shell { &[][..] } else { &call.named[..] };
    let values = || call.args.iter().chain(told.iter().map(|(_, value)| value));
    let made_of =
        |list: &[&str]| values().flat_map(|value| &value.calls).find(|from| list.contains(&from.as_str()));
    // What somebody sends is executed: whatever it is called when it came.
    let fetched = |from: &&String| {
        let clients = [
            "requests.",
            "httpx.",
            "urllib.request.",
            "urllib3.",
            "aiohttp.",
            "http.client.",
            "axios",
            "got",
        ];
        clients.iter().any(|client| from.starts_with(client)) && from.contains('(') | from.contains(".get")
    };
    let received = |from: &&String| {
        *from == RECEIVED
            || from.ends_with(".recv")
            || from.ends_with(".recvfrom")
            || from.ends_with(".makefile")
            || from.starts_with("asyncio.open_connection")
    };
    let all = || values().flat_map(|value| &value.calls);
    if let Some(from) = made_of(&FETCHES).or_else(|| all().find(fetched)) {
        sink.add("download.execute", call.at, quote(from));
    } else if let Some(from) =
        all().find(received).filter(|_| values().any(|value| value.text.starts_with(UNKNOWN)))
    {
        sink.add("shell.reverse", call.at, quote(from));
    } else if let Some(from) =
        made_of(&DECODES).or_else(|| made_of(&["bytes", "bytearray"]).filter(|_| !runs_shell))
    {
        sink.add("code.obfuscated", call.at, quote(from));
    } else if call.arg(0).contains("\\x") && call.arg(0).len() > 8
        || values()
            .any(|value| value.calls.iter().any(|from| from.ends_with(".decode") && from.contains("b64")))
    {
        sink.add("code.obfuscated", call.at, quote(call.arg(0)));
    }
    // A text that undoes its own encoding, or says a forbidden thing, when it is executed.
    if EXECUTES.contains(&name) && hides(call.arg(0)) {
        sink.add("code.obfuscated", call.at, quote(call.arg(0)));
    }
}

/// Objects that execute something when they are unpacked, or code in a form that no person reads.
fn unpacks(call: &Call, sink: &mut Sink) {
    const UNPACKS: [&str; 8] = [
        "pickle.loads",
        "marshal.loads",
        "dill.loads",
        "cPickle.loads",
        "_pickle.loads",
        "jsonpickle.decode",
        "yaml.unsafe_load",
        "cloudpickle.loads",
    ];
    const ENCODES: [&str; 10] = [
        "base64.b64decode",
        "base64.b85decode",
        "base64.b32decode",
        "base64.a85decode",
        "bytes.fromhex",
        "binascii.unhexlify",
        "codecs.decode",
        "base64.urlsafe_b64decode",
        "zlib.decompress",
        "requests.get",
    ];
    let name = call.name.as_str();
    let own =
        |value: &Value| value.calls.iter().any(|from| from.ends_with(".dumps") || from == "marshal.dump");
    if UNPACKS.contains(&name)
        && !call.args.iter().any(own)
        && (name == "marshal.loads" || call.args.iter().any(|value| value.is_of(&ENCODES)))
    {
        sink.add("code.obfuscated", call.at, quote(name));
    }
    let acts = |from: &String| {
        SHELLS.contains(&from.as_str()) || EXECUTES.contains(&from.as_str()) || from.contains("__import__")
    };
    if name == "(reduce)" && call.args.iter().any(|value| value.calls.iter().any(acts)) {
        sink.add("code.obfuscated", call.at, "an object that executes something when it is unpacked");
    }
    // A member that only a run names, of a module that starts things or is all names.
    let hidden = ["os.", "subprocess.", "builtins.", "__builtins__.", "child_process.", "vm."]
        .iter()
        .any(|module| name.strip_prefix(module).is_some_and(|rest| rest.starts_with(UNKNOWN)));
    if hidden {
        sink.add("code.obfuscated", call.at, quote(name));
    }
    // The same, decoded from a literal.
    let loads = matches!(name, "require" | "__import__" | "importlib.import_module" | "getattr");
    if loads && call.args.iter().any(|value| value.is_of(&DECODES)) {
        sink.add("code.obfuscated", call.at, quote(name));
    }
}

/// Memory that is written and then executed, and the keys of the machine's own start.
fn gropes(call: &Call, sink: &mut Sink) {
    let name = call.name.as_str();
    let executable = |value: &Value| {
        value.calls.iter().any(|from| from.ends_with("PROT_EXEC"))
            || value.number == Some(7.0) && name.ends_with(".mmap")
    };
    let windows =
        ["VirtualAlloc", "CreateRemoteThread", "WriteProcessMemory", "RtlMoveMemory", "VirtualProtect"];
    if name.ends_with("mmap") && call.values().any(executable)
        || windows.iter().any(|method| call.method().starts_with(method))
        || call.method() == "mprotect"
    {
        sink.add("sandbox.probe", call.at, quote(name));
    }
    // The memory of a process, or what another one was started with.
    let path = call.arg(0);
    if name == "open" || name.starts_with("fs.") {
        let of_process = path.strip_prefix("/proc/").is_some_and(|rest| {
            rest.ends_with("/mem") || rest.ends_with("/environ") && !rest.starts_with("self")
        });
        if of_process {
            sink.add("sandbox.probe", call.at, quote(path));
        }
    }
    // A script of a package that is changed by another program, and fetches.
    if name == "(script)" && super::trees::reaches_out(path) {
        sink.add("write.system", call.at, quote(path));
    }
    if name == "(escaped)" {
        sink.add("code.obfuscated", call.at, quote(path));
    }
    // A container that has the machine.
    let privileged = call.named("privileged").is_some_and(|value| value.text == "True")
        || call.named("pid_mode").is_some_and(|value| value.text == "host");
    if privileged && matches!(call.method(), "run" | "create") {
        sink.add("sandbox.probe", call.at, quote(name));
    }
    networks::guesses_passwords(call, sink);
}

/// What a person types, sees or copies, taken without end or sent away.
fn watches(call: &Call, sends: bool, sink: &mut Sink) {
    let name = call.name.as_str();
    let sees = matches!(
        name,
        "PIL.ImageGrab.grab"
            | "ImageGrab.grab"
            | "pyautogui.screenshot"
            | "pyperclip.paste"
            | "win32clipboard.GetClipboardData"
            | "sounddevice.rec"
            | "navigator.clipboard.readText"
            | "pyscreeze.screenshot"
            | "clipboardy.readSync"
    );
    let replaces = name == "pyperclip.copy" && call.around != Around::Nothing;
    if sees && (sends || call.around == Around::Endless) || replaces {
        sink.add("surveillance", call.at, quote(name));
    }
}

/// Whether a text that is executed does things that code does openly.
pub(super) fn hides(text: &str) -> bool {
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
        "send"
            | "sendall"
            | "sendto"
            | "sendmail"
            | "storbinary"
            | "send_message"
            | "sendBeacon"
            | "put_object"
            | "upload_fileobj"
            | "upload_file"
            | "upload_blob"
            | "upload_from_string"
            | "upload_from_filename"
            | "files_upload"
            | "sendDocument"
            | "send_document"
            | "(load)"
    );
    let looks_up = matches!(
        name,
        "socket.gethostbyname"
            | "socket.getaddrinfo"
            | "dns.lookup"
            | "dns.resolve"
            | "dns.resolve4"
            | "dns.resolveTxt"
            | "dns.promises.resolve"
            | "dns.promises.lookup"
            | "dns.resolver.resolve"
            | "socket.gethostbyname_ex"
            | "dns.resolver.query"
    );
    let labels = looks_up && call.args.iter().any(|value| value.is_of(&[ENCODED]));
    let writes = call.method() == "write" && call.name.contains("request")
        || call.method() == "post" && name.contains('.')
        || call.method() == "request" && (name.starts_with("http.client.") || name.starts_with("urllib3."));
    if !(raw || looks_up || writes || SENDS.contains(&name)) {
        return;
    }
    let sent = call.named.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str()));
    if secret || labels || call.args.iter().chain(sent.map(|(_, value)| value)).any(is_confidential) {
        sink.add("exfiltration", call.at, quote(&call.name));
    }
}

/// Whether a value holds what another machine has no business with: the whole environment, what commands say of this machine, files
/// that a search found, or one whose place or name is that of a secret. A file that the program names is its user's to send.
fn is_confidential(value: &Value) -> bool {
    let says = |from: &String| {
        let from = from.as_str();
        ENVIRONMENT.contains(&from)
            || from.starts_with("subprocess.")
            || from.starts_with("os.popen")
            || from.starts_with("child_process.")
            || matches!(
                from,
                "getpass.getuser" | "os.userInfo" | "keys" | "pyperclip.paste" | "document.cookie"
            )
            || from.ends_with("ImageGrab.grab")
    };
    value.calls.iter().any(says) || value.files().any(is_private)
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
        || name.contains(".__builtins__.")
        || name == "ctypes.pythonapi"
        || call.method() == "constructor" && name.contains('.') && call.arg(0).contains("return ")
    {
        sink.add("code.introspection", call.at, quote(name));
    }
    // A name that was put together, where it could have been written.
    let put_together = matches!(name, "getattr" | "__import__" | "importlib.import_module")
        && call.values().any(|value| {
            value.calls.iter().any(|from| {
                DECODES.contains(&from.as_str()) || from == "reversed" || from == "replace" || from == PIECES
            })
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
                    | "mprotect"
                    | "memfd_create"
                    | "prctl"
            )
        {
            sink.add(rule, call.at, quote(name));
        }
    }
}

/// Most fetched files that are looked for among the commands.
const FETCHED_MAX: usize = 16;

/// Files that a call fetched, and a later command executes.
fn executes_fetched(facts: &Facts, sink: &mut Sink) {
    let saved = facts.calls.iter().filter(|call| call.name == "urllib.request.urlretrieve");
    for (name, at) in
        saved.map(|call| (call.arg(1), call.at)).filter(|(name, _)| name.len() > 1).take(FETCHED_MAX)
    {
        let runs = |command: &&Command| {
            let words = command.inner();
            let first = words.first().map_or("", String::as_str);
            command.at >= at
                && (first.trim_start_matches("./") == name.trim_start_matches("./")
                    || INTERPRETERS.contains(&command.program()) && words.iter().any(|word| word == name))
        };
        if let Some(command) = facts.commands.iter().find(runs) {
            sink.add("download.execute", command.at, quote(name));
        }
    }
}

//! Python that is forked from a zygote: confined like an executed one, like a new interpreter to its program, and unlike any other fork.

use fireclay_tests::Server;
use fireclay_tests::server::wait_for;
use model::{Outcome, RunResult};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Says whether its interpreter was warm: a new one has not imported this.
const ASKS: &str = "import sys; print('forked' if 'datetime' in sys.modules else 'executed')";
const FORKED: &str = "forked";

fn python(code: &str) -> Value {
    json!({"language": "python", "code": code})
}

/// A variable that an interpreter reads at its start has the fork execute one.
fn executed(request: &Value) -> Value {
    let mut request = request.clone();
    request["env"] = json!({"PYTHONHASHSEED": "random"});
    request
}

/// What a caller learns of a run, but for its name, time and use.
pub fn told(result: &RunResult) -> String {
    let artifacts: Vec<_> = result.artifacts.iter().map(|left| (&left.path, &left.sha256)).collect();
    let facts = (result.outcome, result.exit_code, &result.signal, &result.stdout, &result.stderr);
    format!("{facts:?}\n{:?}\n{:?}\n{:?}\n{artifacts:?}", result.result, result.displays, result.error)
}

/// Zygotes of this service: children of its spawner that are no program of ours.
pub fn zygotes(server: &Server) -> Vec<Pid> {
    let stat = |pid: Pid| {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.to_owned();
        Some((state, fields.next()?.parse::<i32>().ok()?))
    };
    let parent = |pid: Pid| stat(pid).filter(|(state, _)| state != "Z").map(|(_, parent)| parent);
    let ours = server.data.processes();
    let spawners: Vec<i32> = ours
        .iter()
        .filter(|pid| parent(**pid) == Some(server.pid().as_raw_nonzero().get()))
        .map(|pid| pid.as_raw_nonzero().get())
        .collect();
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.unwrap().file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| !ours.contains(pid) && parent(*pid).is_some_and(|parent| spawners.contains(&parent)))
        .collect()
}

#[test]
fn a_program_is_forked_unless_it_asks_for_what_only_a_start_can_give() {
    let server = Server::start(&[]);
    let start = |request: &Value| server.run(request).stdout.trim().to_owned();
    let asks = python(ASKS);
    assert_eq!(start(&asks), FORKED);
    let mut with_variable = asks.clone();
    with_variable["env"] = json!({"ANY": "thing"});
    assert_eq!(start(&with_variable), FORKED);
    for (name, value) in [("PYTHONHASHSEED", "0"), ("LC_ALL", "C"), ("TZ", "Asia/Tokyo")] {
        let mut request = asks.clone();
        request["env"] = json!({name: value});
        assert_eq!(start(&request), "executed", "{name}");
    }
    let mut shadowing = python(&format!("{ASKS}; import json; print(json.dumps(1))"));
    shadowing["files"] = json!([{"path": "json.py", "text": "def dumps(value): return 'mine'"}]);
    assert_eq!(start(&shadowing), "executed\nmine");
    shadowing["files"] = json!([{"path": "other.py", "text": ""}]);
    assert_eq!(start(&shadowing), "forked\n1");
}

#[test]
fn a_fork_is_confined_as_an_executed_program_is() {
    let server = Server::start(&[]);
    let code = r#"
import os, resource
keep = ("Umask", "Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "SigBlk", "SigIgn", "SigCgt", "Threads", "Speculation")
for line in open("/proc/self/status"):
    if line.startswith(keep) or line.startswith("Seccomp:"):
        print(line.rstrip())
names = sorted(name for name in dir(resource) if name.startswith("RLIMIT"))
print([(name, resource.getrlimit(getattr(resource, name))) for name in names])
print("descriptors", sorted(int(fd) for fd in os.listdir("/proc/self/fd")))
print(os.listdir("/proc/self/task") == [str(os.getpid())])
print(os.getsid(0) == os.getpid(), os.getppid(), os.getcwd(), os.uname().nodename)
print("environment", sorted(os.environ.items()))
print(open("/proc/self/cgroup").read(), open("/proc/self/oom_score_adj").read())
mounts = [line.split() for line in open("/proc/self/mountinfo")]
print(sorted((m[3], m[4], m[5]) for m in mounts))
print([name for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())])
for path in ("/workspace/new", "/tmp/new", "/usr/new", "/new", "/opt/fireclay/new"):
    try:
        open(path, "w").close()
        print(path, "written")
    except OSError as error:
        print(path, error.strerror)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, call in (("setns", (308, 0, 0)), ("clone3", (435, 0, 0)), ("unshare", (272, 0x10000000)), ("keyctl", (250, 1, 0)), ("ptrace", (101, 0, 0)), ("seccomp", (317, 1, 0, 0))):
    ctypes.set_errno(0)
    print(name, libc.syscall(*call), ctypes.get_errno())
"#;
    let forked = server.run(&python(code));
    assert_eq!(forked.outcome, Some(Outcome::Completed), "{forked:?}");
    // Bash is executed by init, and becomes the interpreter: no zygote has a part in it.
    let bash = json!({"language": "bash", "code": "exec python3 program.py", "files": [{"path": "program.py", "text": code}]});
    let executed = server.run(&bash);
    // What a shell adds to both is no matter of confinement.
    let facts = |result: &RunResult| -> Vec<String> {
        let lines = result.stdout.lines();
        lines
            .filter(|line| !line.starts_with("environment") && !line.starts_with("descriptors"))
            .map(str::to_owned)
            .collect()
    };
    for (ours, theirs) in facts(&forked).iter().zip(facts(&executed)) {
        assert_eq!(*ours, theirs);
    }
    assert_eq!(facts(&forked), facts(&executed));
    // 3 is the listing itself; the result channel is at 63.
    assert!(forked.stdout.contains("descriptors [0, 1, 2, 3, 63]"), "{}", forked.stdout);
    assert!(forked.stdout.contains("CapBnd:\t0000000000000000") && forked.stdout.contains("NoNewPrivs:\t1"));
    assert_eq!(forked.isolation, executed.isolation);
}

#[test]
fn a_fork_is_to_its_program_what_a_new_interpreter_is() {
    let server = Server::start(&[]);
    let programs = [
        "print(1)",
        "x = 41\nx + 1",
        "result = {'a': [1, None]}",
        "open('left.txt', 'w').write('not closed')\nf = open('other.txt', 'w'); f.write('held by a name')",
        "class A:\n    def __del__(self): print('gone')\na = A()\nb = [a]\nprint('end')",
        "class A:\n    def __del__(self): print('gone')\na = A(); a.self = a\nprint('end')",
        "import atexit; atexit.register(print, 'at exit'); print('end')",
        "import threading, time\ndef f():\n    time.sleep(0.05); print('thread')\nthreading.Thread(target=f).start(); print('main')",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('words')",
        "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.write('no newline')",
        "def f():\n    return 1 / 0\nf()",
        "def f(:\n",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "import os; os._exit(7)",
        "import os; os.kill(os.getpid(), 9)",
        "import os\npid = os.fork()\nif pid == 0:\n    print('child'); os._exit(0)\nos.waitpid(pid, 0); print('parent')",
        "import subprocess; print(subprocess.run(['cat'], input=b'piped', capture_output=True).stdout)",
        "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'import os; print(sorted(os.environ))'], capture_output=True).stdout)",
        "from concurrent.futures import ProcessPoolExecutor\nif __name__ == '__main__':\n    with ProcessPoolExecutor(2) as pool: print(list(pool.map(abs, [-1, -2])))",
        "import asyncio\nasync def f():\n    await asyncio.sleep(0); return 5\nprint(await f())",
        "import json, re, collections, datetime, typing, random, math; print(json.dumps([1]), re.sub('a', 'b', 'aa'))",
        "import csv, sqlite3, hashlib, ssl, decimal, statistics; print(hashlib.sha256(b'').hexdigest())",
        "import sys; print(sys.argv, sys.path, sys.flags, sys.orig_argv[1:], __file__, __name__, sorted(k for k in globals()))",
        "import inspect; print(len(inspect.stack()), inspect.stack()[0].function)",
        "import traceback\ndef f(): traceback.print_stack()\nf()",
        "import warnings; warnings.warn('careful')",
        "import signal; print([signal.getsignal(s) for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)])",
        "import faulthandler, gc; print(faulthandler.is_enabled(), gc.isenabled(), gc.get_threshold())",
        "import logging; logging.warning('logged'); logging.getLogger('x').error('more')",
        "import sys; sys.stdout = open('redirected.txt', 'w'); print('into the file')",
        "import builtins; print(exit, quit, help, copyright); builtins.thing = open('b.txt', 'w'); builtins.thing.write('kept')",
        "def f(n): return f(n + 1)\ntry:\n    f(0)\nexcept RecursionError as error: print(error)\nimport sys; print(sys.getrecursionlimit())",
        "import time, locale; print(time.tzname, locale.getpreferredencoding(), '\\u00e9')",
        "import tempfile, os; print(os.path.dirname(tempfile.mkstemp()[1]), tempfile.gettempdir())",
        "print(input()); print(input())",
        "import sys; print(sys.stdin.read(), sys.stdin.isatty(), sys.stdout.isatty(), sys.stdin.seekable(), sys.stdout.seekable())",
        "print(open('data.txt').read()); import helper; print(helper.value)",
        "import resource, os; print(os.sched_getaffinity(0) and os.cpu_count(), os.getloadavg())",
        "import csv; f = open('a.csv', 'w'); csv.writer(f).writerow([1, 2])",
        // Of a fork's first objects: many, growing, let go in any order, traced, made by threads and by other interpreters.
        "objects = {n: str(n) * (n % 40) for n in range(20000)}\nlists = [[] for _ in range(500)]\nfor n in range(100000): lists[n % 500].append(str(n))\ndel lists[::3]\ntext = bytearray()\nfor n in range(3000): text += bytes([n % 256]) * (n % 7)\nimport hashlib; print(hashlib.sha256(repr((sorted(objects.items()), lists, text)).encode()).hexdigest())",
        "import tracemalloc; tracemalloc.start(); x = [str(n) for n in range(5000)]; print(tracemalloc.get_traced_memory()[0] > 100000); tracemalloc.stop(); del x; print('ok')",
        "import threading\ndone = []\ndef work(k): done.append(sum(len(str(i) * (i % 9)) for i in range(20000)) + len({str(i): [i] for i in range(k * 1000)}))\nthreads = [threading.Thread(target=work, args=(k,)) for k in range(8)]\n[t.start() for t in threads]; [t.join() for t in threads]; print(sorted(done))",
        "try:\n    import _interpreters as i\nexcept ImportError:\n    import _xxsubinterpreters as i\nother = i.create(); i.run_string(other, 'print(len([str(n) for n in range(9999)]))'); i.destroy(other); print(len([str(n) for n in range(9999)]))",
        "import builtins; builtins.f = open('kept.txt', 'w'); builtins.f.write('by nobody else')",
        "import logging.handlers; logging.basicConfig(filename='a.log', format='%(message)s'); logging.error('logged')",
        "import tempfile, gzip; d = tempfile.TemporaryDirectory(); f = gzip.GzipFile('a.gz', 'wb', mtime=0); f.write(b'x')",
        "import helper; print(helper.value); helper.f = open('of-helper.txt', 'w'); helper.f.write('kept')",
        "import multiprocessing\nif __name__ == '__main__':\n    p = multiprocessing.Process(target=print, args=('child',)); p.start()",
        "from concurrent.futures import ThreadPoolExecutor; f = ThreadPoolExecutor().submit(print, 'pooled')",
    ];
    let mut different = Vec::new();
    for code in programs {
        let mut request = python(code);
        request["stdin"] = json!("one\ntwo\n");
        request["args"] = json!(["a", "b c"]);
        if code.contains("helper") {
            request["files"] =
                json!([{"path": "data.txt", "text": "data"}, {"path": "helper.py", "text": "value = 9"}]);
        }
        let (forked, executed) = (server.run(&request), server.run(&executed(&request)));
        let expected = told(&executed).replace("'PYTHONHASHSEED', ", "").replace(", 'PYTHONHASHSEED'", "");
        if told(&forked) != expected {
            different.push(format!("{code}\n--- forked\n{}\n--- executed\n{expected}", told(&forked)));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n=====\n"));
}

#[test]
fn no_two_of_a_thousand_forks_are_alike() {
    let server = Server::start(&[]);
    let code = "import sys; warm = 'datetime' in sys.modules
import random, uuid, tempfile, secrets, ssl
print(warm, random.getrandbits(64), random.SystemRandom().getrandbits(64), uuid.uuid4(), uuid.uuid1(), ssl.RAND_bytes(8).hex(),
      secrets.token_hex(8), next(tempfile._get_candidate_names()), open('/proc/sys/kernel/random/uuid').read().strip(), random.Random().random())";
    let lines: Vec<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let words =
                        |_| server.run(&python(code)).stdout.split_whitespace().map(str::to_owned).collect();
                    (0..250).map(words).collect::<Vec<Vec<String>>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(lines.iter().all(|line| line.len() == 10 && line[0] == "True"), "{:?}", lines[0]);
    for column in 1..10 {
        let distinct: BTreeSet<&str> = lines.iter().map(|line| line[column].as_str()).collect();
        assert_eq!(distinct.len(), lines.len(), "column {column}");
    }
}

#[test]
fn a_killed_zygote_costs_no_run_and_is_replaced() {
    let server = Server::start(&[]);
    let asks = python(ASKS);
    assert_eq!(server.run(&asks).stdout.trim(), FORKED);
    let before = zygotes(&server);
    assert_eq!(before.len(), 1, "{before:?}");
    let process = pidfd_open(before[0], PidfdFlags::empty()).unwrap();
    kill_process(before[0], Signal::KILL).unwrap();
    wait_for(&process);
    // Keepers know only the dead one, and new ones get another: no run fails, and soon all are forks of that.
    let replaced = || matches!(zygotes(&server)[..], [now] if now != before[0]);
    let mut forked = 0;
    while forked < 20 {
        let result = server.run(&asks);
        assert_eq!(result.outcome, Some(Outcome::Completed), "{result:?}");
        forked = if replaced() && result.stdout.trim() == FORKED { forked + 1 } else { 0 };
    }
}

#[test]
fn inputs_that_cannot_be_written_are_refused_the_same_way() {
    let server = Server::start(&[]);
    let mut large = python("print(1)");
    large["limits"] = json!({"disk_bytes": 1_048_576});
    // Admission counts bytes; only the file system knows that each takes a page.
    large["files"] = (0..600).map(|number| json!({"path": format!("{number}"), "text": "x"})).collect();
    let (forked, executed) = (server.run(&large), server.run(&executed(&large)));
    assert_eq!(forked.fault, executed.fault);
    assert!(forked.fault.is_some_and(|fault| fault.message.contains("does not fit into the disk limit")));
}

#[test]
fn a_zygote_has_nothing_of_the_host_in_sight() {
    let server = Server::start(&[]);
    assert_eq!(server.run(&python("print(1)")).stdout, "1\n");
    let zygote = zygotes(&server)[0].as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{zygote}/status")).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    // CAP_SYS_ADMIN alone.
    for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000200000", "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    let mounts = std::fs::read_to_string(format!("/proc/{zygote}/mountinfo")).unwrap();
    let kinds: BTreeSet<&str> =
        mounts.lines().filter_map(|line| line.split(" - ").nth(1)?.split(' ').next()).collect();
    assert!(kinds.is_subset(&["overlay", "tmpfs", "devtmpfs"].into()), "{mounts}");
    let namespace = |name: &str, of: &str| std::fs::read_link(format!("/proc/{of}/ns/{name}")).unwrap();
    for name in ["mnt", "net", "ipc", "uts"] {
        assert_ne!(namespace(name, &zygote.to_string()), namespace(name, "self"), "{name}");
    }
    let network = std::fs::read_to_string(format!("/proc/{zygote}/net/route")).unwrap();
    assert!(network.lines().count() <= 1, "{network}");
}

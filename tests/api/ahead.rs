//! Node that is started before its program is known: confined like one that is executed, and like a new one to its program.

use fireclay_tests::Server;
use fireclay_tests::server::wait_for;
use model::{Outcome, RunResult};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};

/// Says whether its interpreter was there before it.
const ASKS: &str =
    "console.log(require('fs').readFileSync('/proc/self/cmdline', 'latin1').includes('ahead.cjs'))";

fn javascript(code: &str) -> Value {
    json!({"language": "javascript", "code": code})
}

/// A variable that Node reads at its start needs one that starts with it.
fn executed(request: &Value) -> Value {
    let mut request = request.clone();
    request["env"]["LC_ALL"] = json!("C.UTF-8");
    request
}

/// What a caller learns of a run, but for its name, time and use.
fn told(result: &RunResult) -> String {
    let artifacts: Vec<_> = result.artifacts.iter().map(|left| (&left.path, &left.sha256)).collect();
    let facts = (result.outcome, result.exit_code, &result.signal, &result.stdout, &result.stderr);
    let text = format!("{facts:?}\n{:?}\n{:?}\n{artifacts:?}", result.result, result.error);
    text.replace("LC_ALL=C.UTF-8 ", "")
}

/// Interpreters that wait, of any service on this machine whose sandboxes these are: their programs are known by what started them.
fn waiting() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.unwrap().file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| {
        let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        words.windows(9).any(|part| part == b"ahead.cjs")
    })
    .collect()
}

/// Whether `pid` descends from `ancestor`.
fn descends(pid: Pid, ancestor: Pid) -> bool {
    let parent = |pid: Pid| {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Pid::from_raw(text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?)
    };
    std::iter::successors(Some(pid), |pid| parent(*pid)).any(|pid| pid == ancestor)
}

/// A service with one that waits: a program that comes before it is started is executed.
fn warmed() -> Server {
    let server = Server::start(&[]);
    while server.run(&javascript(ASKS)).stdout != "true\n" {}
    server
}

#[test]
fn node_waits_for_its_program_unless_that_asks_for_what_only_a_start_can_give() {
    let server = warmed();
    let start = |request: &Value| server.run(request).stdout.trim().to_owned();
    let mut with = javascript(ASKS);
    with["env"] = json!({"ANY": "thing", "NODE_ENV": "production"});
    with["args"] = json!(["one"]);
    with["cwd"] = json!("below");
    while start(&with) != "true" {}
    for (field, value) in [
        ("env", json!({"NODE_OPTIONS": "--no-warnings"})),
        ("env", json!({"TZ": "Asia/Tokyo"})),
        ("file_name", json!("other.cjs")),
        ("args", json!(["x".repeat(40_000)])),
    ] {
        let mut request = javascript(ASKS);
        request[field] = value;
        assert_eq!(start(&request), "false", "{field}");
    }
    let typed = json!({"language": "typescript", "code": format!("const a: number = 1;\n{ASKS}")});
    while start(&typed) != "true" {}
}

#[test]
fn node_that_waited_is_confined_as_an_executed_one_is() {
    let server = warmed();
    let code = r#"
const fs = require('fs');
const keep = /^(Umask|Uid|Gid|Groups|Cap|NoNewPrivs|SigIgn|Seccomp:|Speculation|NSpid)/;
console.log(fs.readFileSync('/proc/self/status', 'utf8').split('\n').filter((line) => keep.test(line)).join('\n'));
console.log(fs.readFileSync('/proc/self/limits', 'utf8'));
console.log(fs.readdirSync('/proc/self/fd').map((fd) => { try { return fs.readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/, ''); } catch { return ''; } }).sort());
console.log(fs.readFileSync('/proc/self/cgroup', 'utf8'), fs.readFileSync('/proc/self/oom_score_adj', 'utf8'));
console.log(fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n').map((line) => line.split(' ').slice(3, 6).join(' ')).sort());
console.log(process.pid, process.ppid, process.cwd(), require('os').hostname(), fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)));
for (const path of ['/workspace/new', '/tmp/new', '/usr/new', '/new', '/opt/fireclay/new']) {
  try { fs.writeFileSync(path, ''); console.log(path, 'written'); } catch (error) { console.log(path, error.code); }
}
"#;
    let (waited, executed) = (server.run(&javascript(code)), server.run(&executed(&javascript(code))));
    assert_eq!(waited.outcome, Some(Outcome::Completed), "{waited:?}");
    assert_eq!(told(&waited), told(&executed));
    assert!(waited.stdout.contains("CapBnd:\t0000000000000000") && waited.stdout.contains("NoNewPrivs:\t1"));
    assert_eq!(waited.isolation, executed.isolation);
}

#[test]
fn node_that_waited_is_to_its_program_what_a_new_one_is() {
    let server = warmed();
    let programs = [
        "console.log(1)",
        "const x = 41\nx + 1",
        "({a: [1, null]})",
        "require('fs').writeFileSync('left.txt', 'left')",
        "process.on('exit', (code) => console.log('at exit', code)); console.log('end')",
        "process.exit(3)",
        "process.exitCode = 4; console.error('err'); process.stdout.write('no newline')",
        "function f() { return null.x }\nf()",
        "function f( {\n",
        "throw new TypeError('thrown')",
        "throw 'a string'",
        "Promise.reject(new Error('nobody caught it'))",
        "process.kill(process.pid, 'SIGKILL')",
        "process.abort()",
        "setTimeout(() => console.log('later'), 20); console.log('now')",
        "setImmediate(() => console.log('immediate')); process.nextTick(() => console.log('tick')); Promise.resolve().then(() => console.log('then'))",
        "console.log(require('child_process').execSync('cat', {input: 'piped'}).toString())",
        "require('child_process').execSync('seq 200000 | tail -c 100000', {stdio: 'inherit'})",
        "console.log(require('child_process').execFileSync(process.execPath, ['-p', 'process.argv.length + Object.keys(process.env).filter((n) => n !== \"LC_ALL\").length']).toString())",
        "const c = require('child_process').fork('./child.js'); c.on('message', (m) => { console.log(m); c.disconnect(); })",
        "const {Worker} = require('worker_threads'); new Worker('require(\"worker_threads\").parentPort.postMessage([process.argv.length, process.execArgv])', {eval: true}).on('message', console.log)",
        "const {Worker} = require('worker_threads'); new Worker('./worker.js').on('message', console.log)",
        "console.log(process.argv, process.execArgv, process.title, process.execPath, __filename, __dirname, require.main === module, module.children.length, module.paths)",
        "console.log(Object.entries(process.env).filter(([n]) => n !== 'LC_ALL').sort(), process.cwd(), process.pid, process.ppid)",
        "console.log(Object.keys(require.cache), Object.keys(globalThis), process.moduleLoadList.length > 0)",
        "import fs from 'fs'\nconsole.log(fs.readFileSync('data.txt', 'utf8'), import.meta.url)",
        "const answer = await Promise.resolve(5)\nconsole.log(answer, require('./helper.js').value)",
        "console.log(require('./helper.js').value, require('./data.json'))",
        "let all = ''; process.stdin.on('data', (d) => all += d).on('end', () => console.log(all, process.stdin.isTTY))",
        "const rl = require('readline').createInterface({input: process.stdin}); rl.on('line', (l) => console.log('>', l))",
        "console.log(process.stdout.isTTY, process.stdout.writableLength, process.stdout.constructor.name, process.stderr.constructor.name)",
        "console.log(new Error('shown').stack)",
        "console.log(new Date(0).toString(), new Intl.NumberFormat().format(1234.5), Intl.DateTimeFormat().resolvedOptions().locale)",
        "process.emitWarning('careful'); new Buffer(1)",
        "console.log(process.listeners('exit').length, process.eventNames(), process.getActiveResourcesInfo())",
        "console.log(require('os').userInfo().username, require('os').homedir(), require('os').tmpdir())",
    ];
    let mut different = Vec::new();
    for code in programs {
        let mut request = javascript(code);
        request["stdin"] = json!("one\ntwo\n");
        request["args"] = json!(["a", "b c", "--require"]);
        request["env"] = json!({"A": "b", "EMPTY": "", "UNICODE": "é=ü"});
        request["files"] = json!([{"path": "data.txt", "text": "data"}, {"path": "data.json", "text": "[1]"}, {"path": "helper.js", "text": "exports.value = 9"},
            {"path": "child.js", "text": "process.send([process.argv.length, process.execArgv])"},
            {"path": "worker.js", "text": "require('worker_threads').parentPort.postMessage([process.argv.length, process.execArgv])"}]);
        let (waited, executed) = (server.run(&request), server.run(&executed(&request)));
        if told(&waited) != told(&executed) {
            different.push(format!(
                "{code}\n--- waited\n{}\n--- executed\n{}",
                told(&waited),
                told(&executed)
            ));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n=====\n"));
}

#[test]
fn each_program_has_its_own_and_none_is_used_twice() {
    let server = Server::start(&[]);
    let code = |nonce: usize| {
        format!(
            "console.log({nonce}, globalThis.seen, require('fs').readdirSync('.').length, Math.random()); globalThis.seen = 1; require('fs').writeFileSync('mine', '')"
        )
    };
    let lines: Vec<(usize, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let (server, code) = (&server, &code);
                scope.spawn(move || {
                    let nonces = (0..12).map(move |turn| thread * 100 + turn);
                    nonces
                        .map(|nonce| (nonce, server.run(&javascript(&code(nonce))).stdout))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut random = std::collections::BTreeSet::new();
    for (nonce, line) in lines {
        let (told, number) = line.trim().rsplit_once(' ').unwrap();
        assert_eq!(told, format!("{nonce} undefined 1"));
        assert!(random.insert(number.to_owned()), "{number} twice");
    }
}

#[test]
fn one_that_dies_while_it_waits_costs_no_run() {
    let server = warmed();
    let asks = javascript(ASKS);
    for _ in 0..5 {
        for pid in waiting().into_iter().filter(|pid| descends(*pid, server.pid())) {
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if kill_process(pid, Signal::KILL).is_ok() {
                wait_for(&process);
            }
        }
        let result = server.run(&asks);
        assert_eq!((result.outcome, result.fault.as_ref()), (Some(Outcome::Completed), None), "{result:?}");
    }
    while server.run(&asks).stdout != "true\n" {}
}

#[test]
fn one_that_cannot_live_there_fails_as_it_would_without() {
    let server = Server::start(&[]);
    let mut little = javascript("console.log(1)");
    // Node starts ten threads before it reads a program.
    little["limits"] = json!({"processes": 3, "timeout_ms": 2000});
    // Twice: the second finds what was built ahead for the first.
    for _ in 0..2 {
        let (waited, executed) = (server.run(&little), server.run(&executed(&little)));
        assert_eq!(
            (waited.outcome, waited.signal, &waited.fault),
            (executed.outcome, executed.signal, &None)
        );
        assert_ne!(waited.outcome, Some(Outcome::Completed));
    }
}

#[test]
fn inputs_that_cannot_be_written_are_refused_the_same_way() {
    let server = Server::start(&[]);
    let mut large = javascript("console.log(1)");
    large["limits"] = json!({"disk_bytes": 1_048_576});
    large["files"] = (0..600).map(|number| json!({"path": format!("{number}"), "text": "x"})).collect();
    let (waited, executed) = (server.run(&large), server.run(&executed(&large)));
    assert_eq!(waited.fault, executed.fault);
    assert!(waited.fault.is_some_and(|fault| fault.message.contains("does not fit into the disk limit")));
}

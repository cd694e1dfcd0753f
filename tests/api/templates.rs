//! Templates over the real service, with the real wheels: what a run is made from, warm and executed, and what is refused.

use super::warm::{told, zygotes};
use fireclay_tests::server::{PATIENCE, wait_for};
use fireclay_tests::{Data, Server, fireclay, packages};
use model::{Outcome, RunResult};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;

/// Says whether its interpreter had pandas when it began.
const ASKS: &str = "import sys; print('forked' if 'pandas' in sys.modules else 'executed')";

/// Imports take a second of a processor, of which a run that goes on has little beside the tests of this machine (design 13): they have time.
fn data(code: &str) -> Value {
    json!({"language": "python", "template": "python-data", "code": code, "limits": {"timeout_ms": 50_000}})
}

/// A variable that an interpreter reads at its start has the fork execute one.
fn executed(code: &str) -> Value {
    let mut request = data(code);
    request["env"] = json!({"PYTHONHASHSEED": "random"});
    request
}

fn completed(server: &Server, request: &Value) -> RunResult {
    let result = server.run(request);
    assert_eq!(result.outcome, Some(Outcome::Completed), "{result:?}");
    result
}

/// The zygotes that have more than the standard library warm.
fn data_zygotes(server: &Server) -> Vec<Pid> {
    let arguments = |pid: &Pid| {
        let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    };
    zygotes(server).into_iter().filter(|pid| arguments(pid).contains("\0pandas\0")).collect()
}

#[test]
fn a_run_has_the_packages_of_its_template_and_a_warm_interpreter() {
    let server = Server::start_in(&Data::with_packages(), &[]);
    // Nobody asked for it yet. It may still be on its way.
    let until = Instant::now() + PATIENCE;
    while data_zygotes(&server).len() != 1 {
        assert!(Instant::now() < until, "no zygote has pandas: {:?}", zygotes(&server));
        std::thread::yield_now();
    }
    let code =
        format!("{ASKS}\nimport numpy as np, pandas as pd; print(int(pd.DataFrame({{'a':[1,2]}}).a.sum()))");
    let (forked, cold) = (completed(&server, &data(&code)), completed(&server, &executed(&code)));
    assert_eq!((forked.stdout.as_str(), cold.stdout.as_str()), ("forked\n3\n", "executed\n3\n"));
    assert_eq!(forked.digests.image, cold.digests.image);
    assert_eq!(forked.isolation, cold.isolation);
    let plain = completed(&server, &json!({"language": "python", "code": "1"}));
    assert_ne!(forked.digests.image, plain.digests.image);
    // What it costs to have that ready is said, and only of what was needed just now.
    completed(&server, &data("1"));
    let (_, shown) = server.get_json("/v1/templates/python-data");
    assert!(shown["waiting"].as_u64().unwrap() + shown["leased"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(
        shown["memory_bytes"].as_u64().unwrap() > 0,
        shown["waiting"].as_u64().unwrap() > 0,
        "{shown}"
    );
    let (_, unused) = server.get_json("/v1/templates/node");
    assert_eq!((&unused["waiting"], &unused["memory_bytes"]), (&json!(0), &json!(0)), "{unused}");
    let none = server.run(&json!({"language": "python", "code": "import pandas"}));
    assert_eq!(none.error.map(|error| error.name).as_deref(), Some("ModuleNotFoundError"));
    let shell = json!({"language": "bash", "template": "python-data", "code": "python3 -c 'import pandas; print(1)' && python3 -m numpy.f2py -v"});
    assert!(completed(&server, &shell).stdout.starts_with("1\n2."));
    // A zygote with threads could not be forked.
    for zygote in data_zygotes(&server) {
        let threads = std::fs::read_dir(format!("/proc/{}/task", zygote.as_raw_nonzero())).unwrap();
        assert_eq!(threads.count(), 1);
    }
}

#[test]
fn a_fork_with_packages_is_what_an_executed_program_is() {
    let server = Server::start_in(&Data::with_packages(), &[]);
    let programs = [
        "import pandas as pd; print(pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']}).describe(include='all'))",
        "import pandas as pd\npd.DataFrame({'a': [1.5, 2]})",
        "import numpy as np; print(np.linalg.inv(np.eye(3) * 2), np.show_config(mode='dicts')['Build Dependencies']['blas']['name'])",
        "import numpy as np; np.random.seed(7); print(np.random.rand(3), np.random.default_rng(7).random(3))",
        "import matplotlib; print(matplotlib.get_backend(), matplotlib.get_configdir(), matplotlib.get_cachedir(), matplotlib.matplotlib_fname())",
        "import matplotlib.pyplot as plt, hashlib\nplt.plot([1, 2]); plt.savefig('a.png', metadata={'Software': None}); print(plt.get_fignums())",
        "import os; print(sorted(os.listdir(os.path.expanduser('~'))), os.listdir('/tmp'), sorted(os.environ))",
        "import pandas as pd; pd.read_csv('missing.csv')",
        "import numpy as np; np.zeros(-1)",
        "import pandas as pd, io; print(pd.read_csv(io.StringIO('a,b\\n1,2')).to_json())",
        "import ssl, hashlib, uuid, tempfile, sqlite3, csv; print(hashlib.md5(b'').hexdigest(), hashlib.new('sha512', b'').hexdigest()[:9])",
        "import threading, numpy as np\nt = threading.Thread(target=lambda: print(np.arange(3).sum())); t.start(); t.join()",
        "import os, numpy as np\npid = os.fork()\nif pid == 0:\n    print(np.arange(4).sum()); os._exit(0)\nos.waitpid(pid, 0); print('parent')",
        "import warnings, numpy as np; print(np.array([1]) / 0); warnings.warn('careful')",
        "import pandas as pd; print(pd.Timestamp('2026-01-01', tz='Europe/Paris').isoformat(), pd.__version__)",
    ];
    let mut different = Vec::new();
    for code in programs {
        // Otherwise an executed one says where it is when it looks for what it has not imported yet.
        let code = format!("import numpy, pandas, matplotlib.pyplot\n{code}");
        let (forked, executed) = (server.run(&data(&code)), server.run(&executed(&code)));
        let expected = told(&executed).replace("'PYTHONHASHSEED', ", "");
        if told(&forked) != expected {
            different.push(format!("{code}\n--- forked\n{}\n--- executed\n{expected}", told(&forked)));
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n=====\n"));
}

#[test]
fn no_two_forks_with_packages_are_alike() {
    let server = Server::start_in(&Data::with_packages(), &[]);
    let code = "import sys; warm = 'pandas' in sys.modules
import numpy as np, random, uuid, tempfile, ssl, pandas as pd
print(warm, np.random.rand(), np.random.default_rng().random(), random.random(), uuid.uuid4(), uuid.uuid1(), ssl.RAND_bytes(8).hex(),
      next(tempfile._get_candidate_names()), pd.Series(range(10 ** 6)).sample().iloc[0] + np.random.rand(), np.random.RandomState().rand())";
    let server = &server;
    let words = |_| -> Vec<String> {
        completed(server, &data(code)).stdout.split_whitespace().map(str::to_owned).collect()
    };
    let lines: Vec<Vec<String>> = std::thread::scope(|scope| {
        let parts = [250; 4].map(|count| scope.spawn(move || (0..count).map(words).collect::<Vec<_>>()));
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(lines.iter().all(|line| line.len() == 10 && line[0] == "True"), "{:?}", lines[0]);
    for column in 1..10 {
        let distinct: BTreeSet<&str> = lines.iter().map(|line| line[column].as_str()).collect();
        assert_eq!(distinct.len(), lines.len(), "column {column}");
    }
}

#[test]
fn what_a_module_reads_when_it_is_imported_is_never_old() {
    let server = Server::start_in(&Data::with_packages(), &[]);
    let start = |request: &Value| completed(&server, request).stdout;
    let code = format!(
        "{ASKS}\nimport os, matplotlib; print(matplotlib.get_backend(), matplotlib.rcParams['lines.linewidth'])"
    );
    assert_eq!(start(&data(&code)), "forked\nAgg 1.5\n");
    let mut request = data(&code);
    request["env"] = json!({"MPLBACKEND": "svg"});
    assert_eq!(start(&request), "executed\nsvg 1.5\n");
    let mut request = data(&code);
    request["files"] = json!([{"path": "matplotlibrc", "text": "lines.linewidth: 7"}]);
    assert_eq!(start(&request), "executed\nAgg 7.0\n");
    let mut request = data(&format!("{ASKS}; import numpy; print(numpy.mine)"));
    request["files"] = json!([{"path": "numpy.py", "text": "mine = 9"}]);
    assert_eq!(start(&request), "executed\n9\n");
    let mut request = data(ASKS);
    request["env"] = json!({"OPENBLAS_NUM_THREADS": "4"});
    assert_eq!(start(&request), "executed\n");
}

#[test]
fn a_killed_zygote_with_packages_costs_no_run() {
    let server = Server::start_in(&Data::with_packages(), &[]);
    assert_eq!(completed(&server, &data(ASKS)).stdout, "forked\n");
    let before = data_zygotes(&server);
    let process = pidfd_open(before[0], PidfdFlags::empty()).unwrap();
    kill_process(before[0], Signal::KILL).unwrap();
    wait_for(&process);
    while completed(&server, &data(ASKS)).stdout != "forked\n" {}
    assert_ne!(data_zygotes(&server), before);
    // The other was left alone.
    let plain = json!({"language": "python", "code": "import sys; print('datetime' in sys.modules)"});
    assert_eq!(completed(&server, &plain).stdout, "True\n");
}

#[test]
fn a_zygote_may_start_with_the_first_run_instead() {
    let server = Server::start_in(&Data::with_packages(), &["--set", "pool.warm=[]"]);
    assert_eq!(completed(&server, &json!({"language": "python", "code": "print(1)"})).stdout, "1\n");
    assert_eq!(data_zygotes(&server), []);
    assert_eq!(completed(&server, &data(ASKS)).stdout, "forked\n");
    assert_eq!(data_zygotes(&server).len(), 1);
}

#[test]
fn so_many_sandboxes_of_a_template_wait_as_were_asked_for() {
    let settings = ["--set", "pool.min=0", "--set", "pool.warm=[\"python-data=3\"]"];
    let server = Server::start_in(&Data::with_packages(), &settings);
    assert_eq!(server.metric("fireclay_pool_idle"), 3.0);
    assert_eq!(completed(&server, &data(ASKS)).stdout, "forked\n");
    // What was taken is built anew.
    server.wait_for_metric("fireclay_pool_idle", 3.0);
}

#[test]
fn a_template_that_cannot_be_had_is_refused_and_no_other_is_taken() {
    let server = Server::start(&[]);
    let refused = |template: &str, language: &str| {
        let (status, problem) =
            server.post_json("/v1/runs", &json!({"language": language, "template": template, "code": "1"}));
        assert_eq!((status, problem["field"].as_str()), (422, Some("template")), "{problem}");
        format!("{}: {}", problem["detail"].as_str().unwrap(), problem["hint"].as_str().unwrap())
    };
    assert!(refused("python-data", "python").contains("run `fireclay template build python-data`"));
    assert!(refused("pandas", "python").contains("use one of: bash, node, python, python-data"));
    assert!(
        refused("node", "python").contains("\"node\" does not run python: use one of: python, python-data")
    );
    refused("../python", "python");
    for (language, template, code) in [
        ("python", "python", "print(1)"),
        ("bash", "bash", "echo 1"),
        ("javascript", "node", "console.log(1)"),
        ("typescript", "node", "console.log(1 as number)"),
    ] {
        let named = completed(&server, &json!({"language": language, "template": template, "code": code}));
        let unnamed = completed(&server, &json!({"language": language, "code": code}));
        assert_eq!(told(&named), told(&unnamed));
        assert_eq!(named.digests, unnamed.digests);
    }
}

#[test]
fn packages_that_are_installed_meanwhile_are_found_and_those_in_use_are_not_removed() {
    let server = Server::start(&[]);
    let (status, _) = server.post_json("/v1/runs", &data("1"));
    assert_eq!(status, 422);
    let shared = packages().join("environments");
    std::os::unix::fs::symlink(shared, server.data.path().join("environments")).unwrap();
    assert_eq!(completed(&server, &data(ASKS)).stdout, "forked\n");
    let removed = server.data.command(&["template", "remove", "python-data"]).output().unwrap();
    let said = String::from_utf8_lossy(&removed.stderr).into_owned();
    assert!(!removed.status.success() && said.contains("a sandbox uses it"), "{said}");
    assert_eq!(completed(&server, &data(ASKS)).stdout, "forked\n");
}

#[test]
fn a_batch_takes_templates_as_runs_do() {
    let server = Server::start_in(&Data::with_packages(), &[]);
    let items = [
        json!({"id": "data", "language": "python", "template": "python-data", "code": "import numpy; print(numpy.arange(3).sum())"}),
        json!({"id": "none", "language": "python", "template": "none", "code": "1"}),
    ];
    let body = items.map(|item| item.to_string()).join("\n");
    let headers = [("content-type", "application/x-ndjson")];
    let answer = server.send("POST", "/v1/batches", &headers, body.as_bytes());
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let line = |id: &str| {
        text.lines().find(|line| line.contains(&format!("\"id\":\"{id}\""))).unwrap_or("").to_owned()
    };
    assert!(line("data").contains(r#""stdout":"3\n""#), "{text}");
    assert!(line("none").contains("there is no template"), "{text}");
}

#[test]
fn a_command_runs_a_template_without_a_service() {
    packages();
    let ran = fireclay(
        &["run", "--template", "python-data", "-c", "import pandas, numpy; print(numpy.arange(4).sum())"],
        b"",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "6\n"), "{}", ran.stderr);
    let refused = fireclay(&["run", "--template", "python-dada", "-c", "1"], b"");
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains(r#"there is no template "python-dada"; use one of: bash"#),
        "{}",
        refused.stderr
    );
    let refused = fireclay(&["run", "--template", "python-data", "-l", "js", "-c", "1"], b"");
    assert_eq!(
        (refused.code, refused.stderr.contains("does not run javascript")),
        (2, true),
        "{}",
        refused.stderr
    );
    let listed = fireclay(&["template", "list"], b"");
    assert!(
        listed.stdout.lines().any(|line| line.starts_with("python-data") && line.contains("installed")),
        "{}",
        listed.stdout
    );
    let none = fireclay(&["template", "build", "python"], b"");
    assert_eq!((none.code, none.stderr.contains("has no packages")), (2, true), "{}", none.stderr);
}

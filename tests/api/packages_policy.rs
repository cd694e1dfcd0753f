//! What an operator and a caller say of packages holds wherever they are asked for: hashes, lists, sessions, templates. Attack group PK.

use super::packages::{MAKE_INDEX, VERSION, completed, index, rejected, start};
use super::packages_attacks::uv;
use super::sessions::{open, run};
use super::tenancy::Tenancy;
use bench::processes::{self, Role};
use fireclay_tests::{Data, Server};
use model::Outcome;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

/// Of the wheels of six 1.16.0 and of python-dateutil 2.9.0.post0, as the index has them.
const SIX: &str = "sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254";
const DATEUTIL: &str = "sha256:a8b2bc7bffae282281c8140a97d3aa9c14da0b136dfe83f850eea9a5f7470427";

fn said(problem: &Value) -> String {
    format!("{}: {}", problem["field"].as_str().unwrap(), problem["detail"].as_str().unwrap())
}

/// PK-04: a file that is another than the one that was meant.
#[test]
fn what_has_another_hash_is_not_installed() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let right = format!("six==1.16.0 --hash={SIX}");
    let wrong = format!("six==1.16.0 --hash=sha256:{}", "0".repeat(64));
    let asked = |packages: &[&str]| json!({"language": "python", "code": VERSION, "packages": packages});
    assert_eq!(completed(&server, &asked(&[&right])).stdout, "1.16.0 True\n");
    let file = |text: &str| json!({"language": "python", "code": VERSION, "files": [{"path": "requirements.txt", "text": text}]});
    assert_eq!(completed(&server, &file(&right)).stdout, "1.16.0 True\n");
    for request in [asked(&[&wrong]), file(&wrong)] {
        let problem = rejected(&server, &request);
        assert_eq!(said(&problem), "packages: six==1.16.0: has no file with a hash that was asked for");
    }
    // As with pip: what comes along needs one too.
    let dateutil = format!("python-dateutil==2.9.0.post0 --hash={DATEUTIL}");
    let problem = rejected(&server, &asked(&[&dateutil]));
    assert!(said(&problem).contains("six==") && said(&problem).contains("has no --hash"), "{problem}");
    let both = completed(&server, &asked(&[&dateutil, &right]));
    assert_eq!(both.stdout, "1.16.0 True\n");
    drop(server);
    let strict = start(&data, &["packages.require_hashes=true"]);
    let problem = rejected(&strict, &asked(&["six==1.16.0"]));
    assert!(said(&problem).contains("packages.require_hashes"), "{problem}");
    assert_eq!(completed(&strict, &asked(&[&right])).stdout, "1.16.0 True\n");
}

#[test]
fn what_is_denied_later_is_not_taken_from_what_is_kept() {
    let data = Data::fresh();
    let code = "from dateutil import easter; print(easter.easter(2026))";
    let request = json!({"language": "python", "code": code, "packages": ["python-dateutil==2.9.0.post0"]});
    // What comes with it, and what comes with the newest, which AgentRun's route has.
    for deny in ["", "\"six\", \"tzdata\"", ""] {
        let setting = format!("packages.deny=[{deny}]");
        let server = start(&data, &[&setting]);
        let agentrun = server.post_json("/v1/run/", &json!({"code": code})).1["output"].clone();
        if deny.is_empty() {
            assert_eq!(completed(&server, &request).stdout, "2026-04-05\n");
            assert_eq!(agentrun, "2026-04-05\n");
            continue;
        }
        let problem = rejected(&server, &request);
        assert!(said(&problem).contains("denied by the rule packages.deny = \"six\""), "{problem}");
        assert_eq!(agentrun, "Failed to install dependency dateutil");
    }
}

#[test]
fn a_run_of_a_session_says_what_it_needs_as_any_run_does() {
    let server = start(&Data::fresh(), &[]);
    let session = open(&server, &json!({}));
    let block = format!("# /// script\n# dependencies = [\"six==1.16.0\"]\n# ///\n{VERSION}");
    assert_eq!(run(&server, &session, &json!({"code": block}))["stdout"], "1.16.0 True\n");
    let file = json!({"code": "import idna; print(idna.__name__)",
        "files": [{"path": "requirements.txt", "text": "idna\n"}]});
    assert_eq!(run(&server, &session, &file)["stdout"], "idna\n");
    let refused = |session: &str, request: &Value| {
        let (status, problem) = server.post_json(&format!("{session}/runs"), request);
        assert_eq!(status, 422, "{problem}");
        said(&problem)
    };
    let newer = "# /// script\n# requires-python = \">=3.99\"\n# ///\nprint(1)";
    assert!(refused(&session, &json!({"code": newer})).starts_with("requires-python in code: "));
    let node = open(&server, &json!({"template": "node"}));
    let asked = json!({"code": "console.log(1)", "auto_packages": true});
    assert!(refused(&node, &asked).starts_with("auto_packages: "));
    // One that has what its runs import.
    let auto = open(&server, &json!({"auto_packages": true}));
    let code = json!({"code": "import tabulate; print(tabulate.__name__)"});
    assert_eq!(run(&server, &auto, &code)["stdout"], "tabulate\n");
    assert_ne!(run(&server, &session, &code)["outcome"], "completed");
}

#[test]
fn a_shell_of_a_session_installs_by_pip_as_a_cell_does() {
    let server = start(&Data::fresh(), &["packages.deny=[\"tabulate\"]"]);
    let session = open(&server, &json!({}));
    let bash = |code: &str| json!({"language": "bash", "code": code});
    let check = "python3 -c 'import six; print(six.__version__)'";
    let first = run(&server, &session, &bash(&format!("pip install -q six==1.16.0 && {check}")));
    assert_eq!(first["stdout"], "Installed six 1.16.0\n1.16.0\n", "{first}");
    assert_eq!(run(&server, &session, &bash(check))["stdout"], "1.16.0\n");
    assert_eq!(
        run(&server, &session, &json!({"code": "import six; print(six.__version__)"}))["stdout"],
        "1.16.0\n"
    );
    let (status, problem) =
        server.post_json(&format!("{session}/runs"), &bash("python3 -m pip install tabulate"));
    assert_eq!(status, 422, "{problem}");
    assert!(said(&problem).contains("packages.deny"), "{problem}");
}

#[test]
fn a_requirements_file_of_a_session_is_installed_by_cells_and_shells() {
    let server = start(&Data::fresh(), &["packages.deny=[\"tabulate\"]"]);
    let session = open(&server, &json!({}));
    let bash = |code: &str| json!({"language": "bash", "code": code});
    let write = |path: &str, text: &str| {
        let code = format!(
            "import pathlib\np = pathlib.Path({path:?})\np.parent.mkdir(exist_ok=True)\np.write_text({text:?})\n0"
        );
        assert_eq!(run(&server, &session, &json!({"code": code}))["outcome"], "completed");
    };
    let refused = |request: &Value| {
        let (status, problem) = server.post_json(&format!("{session}/runs"), request);
        assert_eq!(status, 422, "{problem}");
        said(&problem)
    };
    // Before there is one.
    let cell = "%pip install -q -r requirements.txt\nimport six; print(six.__version__)";
    let missing = refused(&json!({"code": cell}));
    assert!(missing.starts_with("code: line 1: ") && missing.contains("there is no such file"), "{missing}");
    assert!(refused(&bash("set -e\npip install -r no.txt")).starts_with("code: line 2: "));
    write("requirements.txt", "# ours\nsix==1.16.0\n");
    let cells = run(&server, &session, &json!({"code": cell}));
    assert_eq!(cells["stdout"], "Installed six 1.16.0\n1.16.0\n", "{cells}");
    write("sub/more.txt", "idna==3.10\n");
    let shell = "pip install -r /workspace/sub/more.txt && python3 -c 'import idna; print(idna.__version__)'";
    let shells = run(&server, &session, &bash(shell));
    assert_eq!(shells["stdout"], "Installed idna 3.10\n3.10\n", "{shells}");
    // Relative to where the run is, and sent with it.
    let mut below = bash("pip install -rmore.txt && echo done");
    below["cwd"] = json!("sub");
    assert_eq!(run(&server, &session, &below)["stdout"], "Installed idna 3.10\ndone\n");
    let mut sent = bash("pip install --requirement=sent.txt && echo done");
    sent["files"] = json!([{"path": "sent.txt", "text": "idna==3.10\n"}]);
    assert_eq!(run(&server, &session, &sent)["stdout"], "Installed idna 3.10\ndone\n");
    // What is in it is judged as it is anywhere.
    for (text, words) in [
        ("six\ntabulate\n", "packages.deny"),
        (
            "six\ngit+https://evil.test/x\n",
            "files: bad.txt: line 2: git+https://evil.test/x: is a version control",
        ),
        ("-r other.txt\n", "option"),
        ("--index-url https://evil.test\nsix\n", "option"),
    ] {
        write("bad.txt", text);
        let words_of = refused(&json!({"code": "%pip install -r bad.txt"}));
        assert!(words_of.contains(words), "{text}: {words_of}");
    }
    for path in ["../etc/passwd", "/etc/passwd", "link"] {
        run(&server, &session, &bash("ln -sf /etc/passwd link"));
        let words = refused(&bash(&format!("pip install -r {path}")));
        assert!(words.starts_with("code: line 1: "), "{words}");
    }
}

#[test]
fn a_runtime_is_a_language_with_its_version() {
    let server = Server::start(&[]);
    let version = "import sys; print('%d.%d' % sys.version_info[:2])";
    let own = completed(&server, &json!({"language": "python", "code": version})).stdout;
    let runtime = format!("python{}", own.trim());
    assert_eq!(completed(&server, &json!({"runtime": runtime, "code": version})).stdout, own);
    let problem = rejected(&server, &json!({"runtime": "python3.99", "code": version}));
    assert!(said(&problem).contains("3.99") && said(&problem).contains(own.trim()), "{problem}");
    let problem = rejected(&server, &json!({"runtime": "node1", "code": "1"}));
    assert!(said(&problem).starts_with("runtime: Node 1 is wanted"), "{problem}");
}

/// PK-03.
#[test]
fn what_is_no_release_of_the_index_is_refused_by_its_kind() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let place = data.path().join("index");
    let mut making =
        Command::new("python3").args(["-c", MAKE_INDEX]).arg(&place).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(making.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let wheel = place.join("simple/six/six-0.0.1-py3-none-any.whl");
    let direct = format!("six @ file://{}", wheel.display());
    let served = format!("six @ http://localhost:{}/simple/six/six-0.0.1-py3-none-any.whl", port.trim());
    for (package, kind) in [
        (direct.as_str(), "direct URL"),
        (served.as_str(), "direct URL"),
        ("requests @ https://evil.test/r.whl", "direct URL"),
        ("file:///etc/passwd", "direct URL"),
        ("git+ssh://git@evil.test/x", "version control"),
        ("./six-0.0.1-py3-none-any.whl", "path"),
        ("-e .", "editable"),
        ("six --index-url http://evil.test", "option"),
    ] {
        let problem = rejected(&server, &json!({"language": "python", "code": "1", "packages": [package]}));
        assert!(said(&problem).contains(kind), "{package}: {problem}");
    }
    // Control: by plain uv, which the service runs, both are installed.
    let six = json!({"language": "python", "code": VERSION, "packages": ["six==1.16.0"]});
    assert_eq!(completed(&server, &six).stdout, "1.16.0 True\n");
    for (name, package) in [("file", &direct), ("http", &served)] {
        let target = data.path().join(name);
        let mut install = Command::new(uv(&data));
        install.args(["pip", "install", "--quiet", "--no-cache", "--python", "python3", "--target"]);
        let output = install.arg(&target).arg(package).output().unwrap();
        assert!(output.status.success() && target.join("six.py").exists(), "{output:?}");
    }
    making.kill().unwrap();
    making.wait().unwrap();
}

/// PK-11: what crashes in a library that every fork has, or changes it, does so in its own sandbox only.
#[test]
fn what_is_broken_in_a_fork_is_whole_in_the_next() {
    let server = Server::start(&[]);
    let zygotes = || -> Vec<(u32, u64)> {
        let tree = processes::tree(server.pid().as_raw_nonzero().get() as u32);
        tree.iter().filter(|one| one.role() == Role::Zygote).map(|one| (one.pid, one.start)).collect()
    };
    let python = |code: &str| server.run(&json!({"language": "python", "code": code}));
    assert_eq!(python("print(1)").stdout, "1\n");
    let before = zygotes();
    assert!(!before.is_empty());
    let changes = "import json, ctypes, os\njson.dumps = None\nos.environ['LEFT'] = 'x'\nopen('/tmp/left', 'w').close()\n\
                   libc = ctypes.CDLL(None)\nlibc.memset(ctypes.c_void_p(id(1000003)), 255, 8)\nprint('changed')";
    assert_eq!(python(changes).stdout, "changed\n");
    let crash = python("import ctypes; ctypes.string_at(0)");
    assert_eq!((crash.outcome, crash.signal.as_deref()), (Some(Outcome::Signalled), Some("SIGSEGV")));
    let looks =
        "import json, os; print(json.dumps([1]), os.environ.get('LEFT'), os.path.exists('/tmp/left'))";
    for _ in 0..4 {
        assert_eq!(python(looks).stdout, "[1] None False\n");
    }
    assert_eq!(zygotes(), before, "no zygote died of it");
    // Control: without a fork for each run, as in a session, the same change is there for the next, and the same crash takes the interpreter along.
    let session = open(&server, &json!({}));
    let said = |code: &str| run(&server, &session, &json!({"code": code}))["stdout"].clone();
    let process = said("import os; print(os.getpid())");
    assert_eq!(said(changes), "changed\n");
    let left = "import json, os; print(json.dumps, os.environ.get('LEFT'), os.path.exists('/tmp/left'), os.getpid())";
    assert_eq!(said(left), format!("None x True {}", process.as_str().unwrap()));
    let crash = run(&server, &session, &json!({"code": "import ctypes; ctypes.string_at(0)"}));
    assert_eq!(crash["outcome"], "signalled", "{crash}");
    let after = said("import os; print(os.environ.get('LEFT'), os.getpid())");
    let after = after.as_str().unwrap();
    assert!(after.starts_with("None ") && after != format!("None {}", process.as_str().unwrap()), "{after}");
}

/// PK-12: a release that was moved, under its old version, is in no template that was built before, and by no run that names its hash.
#[test]
fn a_release_that_was_moved_is_not_in_what_was_built_of_it() {
    let data = Data::fresh();
    let place = data.path().join("index");
    let mut making =
        Command::new("python3").args(["-c", MAKE_INDEX]).arg(&place).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(making.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let address = format!("localhost:{}", port.trim());
    let settings = [
        format!("packages.indexes=[\"http://{address}/simple\"]"),
        format!("packages.hosts=[\"{address}\", \"pypi.org\", \"files.pythonhosted.org\"]"),
        index().replace(']', ",\"127.0.0.0/8\",\"::1/128\"]"),
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = Server::start_in(&data, &arguments);
    let build = || {
        let definition = json!({"name": "pinned", "base": "python", "packages": ["six==0.0.1"]});
        let (status, built) = server.post_json("/v1/templates", &definition);
        assert!(status < 300, "{status} {built}");
        built["version"].clone()
    };
    let first = build();
    let hash = hash_of(&place);
    // The same name, the same version, another content.
    let (again, _) = MAKE_INDEX.split_once("import http.server").unwrap();
    let again = again.replace("PY3 = 2", "PY3 = 666").replace("parents=True", "parents=True, exist_ok=True");
    assert!(Command::new("python3").args(["-c", &again]).arg(&place).status().unwrap().success());
    let of_template =
        json!({"language": "python", "template": "pinned", "code": "import six; print(six.PY3)"});
    assert_eq!(completed(&server, &of_template).stdout, "2\n");
    assert_eq!(build(), first);
    assert_eq!(completed(&server, &of_template).stdout, "2\n");
    let by_hash = format!("six==0.0.1 --hash=sha256:{hash}");
    let request = |package: &str| json!({"language": "python", "code": "import six; print(six.PY3)", "packages": [package]});
    let problem = rejected(&server, &request(&by_hash));
    assert!(said(&problem).contains("has no file with a hash that was asked for"), "{problem}");
    // Controls: without template and hash the moved one comes in, here and by plain uv.
    assert_eq!(completed(&server, &request("six==0.0.1")).stdout, "666\n");
    let target = data.path().join("plain");
    let mut install = Command::new(uv(&data));
    install.args(["pip", "install", "--quiet", "--no-cache", "--python", "python3", "--index"]);
    install.arg(format!("http://{address}/simple")).arg("six==0.0.1").arg("--target").arg(&target);
    let output = install.env("UV_SYSTEM_CERTS", "true").env("UV_NATIVE_TLS", "true").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_to_string(target.join("six.py")).unwrap(), "PY3 = 666\n");
    making.kill().unwrap();
    making.wait().unwrap();
}

/// The digest that the page of an index has for its only file.
fn hash_of(index: &std::path::Path) -> String {
    let page = std::fs::read_to_string(index.join("simple/six/index.html")).unwrap();
    let (_, rest) = page.split_once("#sha256=").unwrap();
    rest[..64].to_owned()
}

/// PK-12: a newer release is in a template only where its build is told to take it, and that build says so.
#[test]
fn a_template_stays_what_it_was_and_building_it_anew_says_what_is_another() {
    let data = Data::fresh();
    let opened = index();
    let tenancy = Tenancy::start_in(&data, &["--set", &opened]);
    let file = data.path().join("moved.toml");
    let build = |packages: &str| -> Output {
        let text = format!("name = \"moved\"\nbase = \"python\"\npackages = [{packages}]\n");
        std::fs::write(&file, text).unwrap();
        let mut command = data.command(&["template", "build", file.to_str().unwrap()]);
        let output = command.env("FIRECLAY_API_KEY", &tenancy.admin).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    };
    let changed = |output: &Output| -> Vec<String> {
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        said.lines().filter(|line| line.starts_with("changed: ")).map(str::to_owned).collect()
    };
    let first = build("\"six<1.17\"");
    assert_eq!(changed(&first), [""; 0]);
    assert_eq!(changed(&build("\"six<1.17\"")), [""; 0]);
    let moved = build("\"six>=1.17\", \"idna==3.10\"");
    assert_eq!(changed(&moved), ["changed: idna 3.10 is new", "changed: six 1.16.0 is 1.17.0 now"]);
    let printed = String::from_utf8(first.stdout).unwrap();
    let pinned = printed.split_whitespace().nth(1).unwrap().to_owned();
    for (template, version) in [(pinned.as_str(), "1.16.0 True\n"), ("moved", "1.17.0 True\n")] {
        let request = json!({"language": "python", "template": template, "code": VERSION});
        let (status, result) = tenancy.tell(&tenancy.a, "POST", "/v1/runs", &request);
        assert_eq!((status, result["stdout"].as_str()), (200, Some(version)), "{template}: {result}");
    }
}

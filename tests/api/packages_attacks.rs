//! What hostile packages and settings do where source may be built: nothing of a run, of the machine or of another host is in reach. Attack group PK, each with a control
//! in which the same succeeds.

use super::packages::{completed, opened_for};
use fireclay_tests::{Data, Server};
use model::Outcome;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An index (PEP 503) with one source distribution, whose build tells what it sees; arguments: its directory, and a port of another server.
const INDEX: &str = r#"
import functools, hashlib, http.server, io, pathlib, sys, tarfile
root, port = pathlib.Path(sys.argv[1]), sys.argv[2]
setup = f'''
import os, urllib.request
from setuptools import setup

def reaches(url):
    try:
        return urllib.request.urlopen(url, timeout=20).status
    except Exception as error:
        return "no way"

seen = dict(token=os.environ.get("TOKEN"), secret=os.path.exists("/workspace/secret.txt"), host=os.path.exists({str(root)!r}), other=reaches("http://localhost:{port}/"))
open("told.py", "w").write("SEEN = " + repr(seen))
setup(name="told", version="0.0.1", py_modules=["told"])
'''
files = {"setup.py": setup, "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
         "PKG-INFO": "Metadata-Version: 2.1\nName: told\nVersion: 0.0.1\n"}
place = root / "simple" / "told"
place.mkdir(parents=True)
archive = place / "told-0.0.1.tar.gz"
with tarfile.open(archive, "w:gz") as tar:
    for name, text in files.items():
        entry = tarfile.TarInfo("told-0.0.1/" + name)
        entry.size = len(text.encode())
        tar.addfile(entry, io.BytesIO(text.encode()))
digest = hashlib.sha256(archive.read_bytes()).hexdigest()
(place / "index.html").write_text(f'<a href="{archive.name}#sha256={digest}">{archive.name}</a>')
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// Ends with this.
struct Index {
    process: Child,
    port: u16,
}

impl Index {
    fn start(root: &Path, other: u16) -> Self {
        let mut process = Command::new("python3")
            .args(["-c", INDEX])
            .arg(root)
            .arg(other.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, port: port.trim().parse().unwrap() }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A server of this machine that is no index; its port.
fn other() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut lines, mut line) = (BufReader::new(&stream), String::from("x"));
            while !line.trim().is_empty() {
                line.clear();
                lines.read_line(&mut line).unwrap_or_default();
            }
            drop((&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"));
        }
    });
    port
}

/// The uv that a service brought.
pub fn uv(data: &Data) -> PathBuf {
    let brought = std::fs::read_dir(data.path().join("tools")).unwrap().flatten().map(|entry| entry.path());
    let mut found = brought.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("uv-"));
    found.next().unwrap_or_else(|| "uv".into())
}

/// PK-01, PK-09.
#[test]
fn what_is_built_sees_nothing_and_settings_of_a_run_change_nothing() {
    let data = Data::fresh();
    let (root, other) = (data.path().join("index"), other());
    let index = Index::start(&root, other);
    let first = format!("http://localhost:{}/simple", index.port);
    let ranges = opened_for(&["pypi.org", "files.pythonhosted.org"]).replace(']', ",\"127.0.0.0/8\"]");
    let settings = [
        ranges,
        format!("packages.indexes=[\"{first}\"]"),
        format!("packages.hosts=[\"localhost:{}\",\"pypi.org\",\"files.pythonhosted.org\"]", index.port),
        "packages.source=true".to_owned(),
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = Server::start_in(&data, &arguments);
    // Settings of an installer, as variables and as files, are the program's own affair.
    let evil = "http://127.0.0.1:1/simple";
    let request = json!({
        "language": "python", "packages": ["told"], "code": "import told; print(told.SEEN)",
        "env": {"TOKEN": "t0ken", "UV_DEFAULT_INDEX": evil, "PIP_INDEX_URL": evil},
        "files": [{"path": "secret.txt", "text": "s"}, {"path": "uv.toml", "text": format!("index-url = \"{evil}\"")}],
    });
    let result = completed(&server, &request);
    assert_eq!(
        result.stdout, "{'token': None, 'secret': False, 'host': False, 'other': 'no way'}\n",
        "{result:?}"
    );
    // Controls: by plain uv the same build sees a variable, the machine and the other server; and such a setting is obeyed.
    let plain = |name: &str, variable: (&str, &str)| {
        let target = data.path().join(name);
        let installed = Command::new(uv(&data))
            .args([
                "pip",
                "install",
                "--quiet",
                "--no-cache",
                "--python",
                "python3",
                "--index",
                &first,
                "told",
            ])
            .arg("--target")
            .arg(&target)
            .env("UV_SYSTEM_CERTS", "true")
            .env("UV_NATIVE_TLS", "true")
            .env(variable.0, variable.1)
            .output()
            .unwrap();
        let told = std::fs::read_to_string(target.join("told.py")).unwrap_or_default();
        (installed.status.success(), told, String::from_utf8_lossy(&installed.stderr).into_owned())
    };
    let (done, told, said) = plain("sees", ("TOKEN", "t0ken"));
    assert!(done, "{said}");
    assert!(told.contains("'token': 't0ken'") && told.contains("'host': True, 'other': 200"), "{told}");
    let (done, _, said) = plain("obeys", ("UV_DEFAULT_INDEX", evil));
    assert!(!done && said.contains("127.0.0.1:1"), "{said}");
}

/// PK-07.
#[test]
fn what_is_kept_cannot_be_changed_by_who_uses_it() {
    let data = Data::fresh();
    let ranges = opened_for(&["pypi.org", "files.pythonhosted.org"]);
    let server = Server::start_in(&data, &["--set", &ranges]);
    let packages = json!(["six==1.16.0"]);
    let attack = "import six, os, shutil\nplace = os.path.dirname(six.__file__)\ndone = []\n\
                  for act in (lambda: open(six.__file__, 'w'), lambda: os.remove(six.__file__), lambda: os.chmod(six.__file__, 0o777),\n\
                  \x20           lambda: open(place + '/sitecustomize.py', 'w'), lambda: os.rename(place, '/tmp/x'), lambda: shutil.rmtree(place)):\n\
                  \x20   try:\n        act(); done.append(act)\n    except OSError:\n        pass\n\
                  print(len(done))\nopen('/tmp/control', 'w').close(); print(os.path.exists('/tmp/control'))";
    let told = completed(&server, &json!({"language": "python", "packages": packages, "code": attack}));
    assert_eq!(told.stdout, "0\nTrue\n", "the control is a place that may be written");
    let next = server.run(&json!({"language": "python", "packages": packages,
        "code": "import six, sys; print(six.PY3, 'sitecustomize' in sys.modules)"}));
    assert_eq!((next.outcome, next.stdout.as_str()), (Some(Outcome::Completed), "True False\n"), "{next:?}");
}

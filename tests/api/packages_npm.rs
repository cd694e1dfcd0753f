//! Packages of npm that runs ask for: from the real registry by the image's npm, and from one of ours that has what no honest one has.
//! Attack group PK.

use super::packages::{completed, opened_for};
use super::sessions::{open, run};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fireclay_tests::{Data, Server};
use model::Outcome;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A service that reaches the registry, which may be at an address of this network.
pub fn start(data: &Data, settings: &[&str]) -> Server {
    let private = opened_for(&["registry.npmjs.org"]);
    let mut arguments = vec!["--set", private.as_str()];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", *setting]));
    Server::start_in(data, &arguments)
}

fn refusal(server: &Server, request: &Value) -> String {
    let (status, problem) = server.post_json("/v1/runs", request);
    assert_eq!((status, problem["field"].as_str()), (422, Some("packages")), "{problem}");
    problem["detail"].as_str().unwrap().to_owned()
}

fn environments(data: &Data) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.path().join("packages/local")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("manifest.json").exists()).collect()
}

#[test]
fn however_they_are_named_they_are_there_and_installed_once() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let required =
        "const odd = require('is-odd');\nconsole.log(odd(3), require('is-odd/package.json').version);";
    let imported = "import odd from 'is-odd';\nconsole.log(odd(3), '3.0.1');";
    let manifest = r#"{"dependencies": {"is-odd": "3.0.1"}}"#;
    let first = completed(
        &server,
        &json!({"language": "javascript", "code": required, "packages": ["is-odd@3.0.1"]}),
    );
    assert_eq!(first.stdout, "true 3.0.1\n");
    for request in [
        json!({"language": "javascript", "code": imported, "packages": ["is-odd@3.0.1"]}),
        json!({"language": "typescript", "code": format!("{imported}\nconst n: number = 1"), "packages": ["is-odd@3.0.1"]}),
        json!({"language": "javascript", "code": required, "files": [{"path": "package.json", "text": manifest}]}),
    ] {
        let result = completed(&server, &request);
        assert_eq!(
            (result.stdout.as_str(), &result.digests.image),
            ("true 3.0.1\n", &first.digests.image),
            "{request}"
        );
    }
    assert_eq!(environments(&data).len(), 1);
    // By what is imported, with a scope, from a file in a directory of the run; nothing of it may be written, and no way out came with it.
    let code = "import { z } from 'zod';\nimport { deep } from './lib/deep.mjs';\nimport fs from 'node:fs';\n\
                console.log(z.number().parse(1), deep, process.env.HTTP_PROXY);\n\
                try { fs.appendFileSync('/node_modules/zod/package.json', 'x') } catch (e) { console.log(e.code) }";
    let found = json!({"language": "javascript", "code": code, "auto_packages": true, "packages": ["@types/estree"],
        "files": [{"path": "lib/deep.mjs", "text": "import { createRequire } from 'node:module';\nexport const deep = createRequire(import.meta.url)('@types/estree/package.json').name"}]});
    let found = completed(&server, &found);
    assert_eq!(found.stdout, "1 @types/estree undefined\nEROFS\n");
    let without = server.run(&json!({"language": "javascript", "code": "import 'zod'"}));
    assert!(without.stderr.contains("zod"), "{without:?}");
    assert_ne!(without.outcome, Some(Outcome::Completed));
    // Programs that packages bring are found by their names.
    let program = json!({"language": "javascript", "packages": ["semver@7.6.0"],
        "code": "console.log(require('child_process').execSync('semver -r ^1.0.0 1.2.3 2.0.0').toString().trim())"});
    assert_eq!(completed(&server, &program).stdout, "1.2.3\n");
    drop(server);
    let offline = Server::start_in(&data, &["--set", "packages.offline=true"]);
    let said = json!({"language": "javascript", "code": required, "packages": ["is-odd@3.0.1"]});
    assert_eq!(completed(&offline, &said).stdout, "true 3.0.1\n");
}

#[test]
fn a_session_of_node_has_what_it_was_opened_with() {
    let server = start(&Data::fresh(), &[]);
    let session = open(&server, &json!({"template": "node", "packages": ["is-odd@3.0.1"]}));
    let code = "const odd = require('is-odd'); odd(4)";
    for fresh in [false, true] {
        let result = run(&server, &session, &json!({"code": code, "fresh": fresh}));
        assert_eq!(
            (result["outcome"].as_str(), &result["result"]),
            (Some("completed"), &json!({"text/plain": "false", "application/json": false})),
            "{result}"
        );
    }
}

#[test]
fn what_cannot_be_had_is_told_and_policy_compares_letter_by_letter() {
    let server =
        start(&Data::fresh(), &["packages.allow=[\"is-*\", \"nosuch*\"]", "packages.deny=[\"is-number\"]"]);
    let asked = |package: &str| {
        refusal(&server, &json!({"language": "javascript", "code": "1", "packages": [package]}))
    };
    for (package, words) in [
        ("nosuchpkg-zz-0", "404"),
        ("is-even@99", "No matching version"),
        ("git+https://evil.test/x", "version control"),
        ("https://evil.test/x.tgz", "URL"),
        ("../here", "path"),
        ("is-odd@npm:is-even", "alias"),
        ("--registry=https://evil.test", "option"),
        ("is_odd", "packages.allow"),
        ("is-number", "packages.deny"),
        // It needs what is denied.
        ("is-odd", "packages.deny"),
    ] {
        let detail = asked(package);
        assert!(detail.contains(words), "{package}: {detail}");
    }
    let old = start(&Data::fresh(), &["packages.min_age_ms=\"400000h\""]);
    let detail = refusal(&old, &json!({"language": "javascript", "code": "1", "packages": ["is-odd"]}));
    assert!(detail.contains("is-odd"), "{detail}");
}

/// A registry of this machine: one package, with a script, whose archive is what it says or not.
struct Registry {
    port: u16,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
}

/// What a package's script leaves.
const SCRIPT: &str = "node -e \"require('fs').writeFileSync('ran.txt', 'x')\"";

impl Registry {
    fn start(package: &str, honest: bool) -> Self {
        Self::moved(package, honest, None)
    }

    /// One that sends its clients to another on this port, if it is given, for all that they ask for.
    fn moved(package: &str, honest: bool, to: Option<u16>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("package");
        std::fs::create_dir(&inside).unwrap();
        let manifest = json!({"name": package, "version": "1.0.0", "scripts": {"postinstall": SCRIPT}});
        std::fs::write(inside.join("package.json"), manifest.to_string()).unwrap();
        std::fs::write(
            inside.join("index.js"),
            "module.exports = require('fs').existsSync(__dirname + '/ran.txt')",
        )
        .unwrap();
        let archive = directory.path().join("x.tgz");
        let mut packed = Command::new("tar");
        packed.arg("-C").arg(directory.path()).arg("-czf").arg(&archive).arg("package");
        assert!(packed.status().unwrap().success());
        let mut archive = std::fs::read(archive).unwrap();
        let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(&archive)));
        if !honest {
            // Another comment in its gzip header's time: the same files, other bytes.
            archive[4] ^= 1;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut version = manifest;
        let tarball = format!("http://localhost:{port}/{package}/-/x-1.0.0.tgz");
        version["dist"] = json!({"tarball": tarball, "integrity": integrity});
        version["hasInstallScript"] = json!(true);
        let document =
            json!({"name": package, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}})
                .to_string();
        // A client that connects ahead of need says nothing for a while.
        let said = Arc::new((document, archive));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let said = Arc::clone(&said);
                std::thread::spawn(move || answer(&stream, said.0.as_bytes(), &said.1, to));
            }
        });
        Self { port, asked }
    }

    fn settings(&self) -> [String; 3] {
        let Self { port, .. } = self;
        [
            format!("packages.registry=http://localhost:{port}"),
            format!("packages.npm_hosts=[\"localhost:{port}\"]"),
            "egress.private=[\"127.0.0.0/8\"]".to_owned(),
        ]
    }
}

fn answer(mut stream: &TcpStream, document: &[u8], archive: &[u8], moved: Option<u16>) {
    let mut lines = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    lines.read_line(&mut first).unwrap_or_default();
    while line != "\r\n" {
        line.clear();
        if lines.read_line(&mut line).unwrap_or_default() == 0 {
            break;
        }
    }
    if let (Some(port), Some(path)) = (moved, first.split(' ').nth(1)) {
        let head = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nconnection: close\r\nlocation:";
        drop(stream.write_all(format!("{head} http://localhost:{port}{path}\r\n\r\n").as_bytes()));
        return;
    }
    let (kind, body) = if first.contains(".tgz") {
        ("application/octet-stream", archive)
    } else {
        ("application/json", document)
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
}

fn with_registry(registry: &Registry) -> Server {
    let settings = registry.settings();
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    Server::start(&arguments)
}

/// PK-05: what a package has to be done when it is installed is not done.
#[test]
fn no_script_of_a_package_is_run_and_its_archive_is_what_it_says() {
    let registry = Registry::start("scripted", true);
    let server = with_registry(&registry);
    let code = "console.log('ran:', require('scripted'))";
    let request = json!({"language": "javascript", "code": code, "packages": ["scripted"]});
    assert_eq!(completed(&server, &request).stdout, "ran: false\n");
    // Control: a plain `npm install` of the same package runs it.
    let plain = format!(
        "unset no_proxy NO_PROXY; cd /tmp && npm install --no-audit --no-update-notifier --cache /tmp/cache --registry http://localhost:{port} scripted >&2 && \
         node -e \"console.log('ran:', require('scripted'))\"",
        port = registry.port
    );
    let allow = [format!("localhost:{}", registry.port)];
    let control = server.run(&json!({"language": "bash", "code": plain, "egress": {"allow": allow}}));
    assert_eq!(control.stdout, "ran: true\n", "{control:?}");
    let changed = with_registry(&Registry::start("scripted", false));
    let detail = refusal(&changed, &request);
    assert!(detail.contains("EINTEGRITY") || detail.contains("integrity"), "{detail}");
}

#[test]
fn a_build_reaches_its_registry_and_nothing_else() {
    // What the registry says is elsewhere: the archive is at another host, which would answer.
    let (registry, elsewhere) = (Registry::start("scripted", true), Registry::start("scripted", true));
    let Registry { port, .. } = registry;
    let hosts = format!("packages.npm_hosts=[\"localhost:{}\"]", elsewhere.port);
    let settings = registry.settings();
    let request = json!({"language": "javascript", "code": "1", "packages": ["scripted"]});
    let closed = Server::start(&["--set", &settings[0], "--set", &hosts, "--set", &settings[2]]);
    let detail = refusal(&closed, &request);
    assert!(detail.contains(&format!("localhost:{port}")) && detail.contains("egress.allow"), "{detail}");
    // Control: with its own host named, the same is installed.
    completed(&with_registry(&registry), &request);
}

/// PK-10: where a registry sends its client, and what a program says of registries, is nothing to a build.
#[test]
fn a_build_is_led_to_no_other_registry() {
    let there = Registry::start("scripted", true);
    let moved = Registry::moved("scripted", true, Some(there.port));
    let asked = |registry: &Registry| registry.asked.load(Ordering::Relaxed);
    let request = json!({"language": "javascript", "code": "console.log('ran:', require('scripted'))", "packages": ["scripted"]});
    let detail = refusal(&with_registry(&moved), &request);
    assert!(
        detail.contains(&format!("localhost:{}", there.port)) && detail.contains("egress.allow"),
        "{detail}"
    );
    assert_eq!(asked(&there), 0);
    // Where the operator lets it reach both, what it is led to is no release of its registry.
    let both = format!("packages.npm_hosts=[\"localhost:{}\", \"localhost:{}\"]", moved.port, there.port);
    let [registry, _, private] = moved.settings();
    let wide = Server::start(&["--set", &registry, "--set", &both, "--set", &private]);
    assert!(refusal(&wide, &request).contains("direct URL"));
    // Control: a plain `npm install` that may reach both follows, and installs.
    let plain = format!(
        "unset no_proxy NO_PROXY; cd /tmp && npm install --no-audit --no-update-notifier --cache /tmp/cache --registry http://localhost:{} scripted >&2 && \
         ls node_modules",
        moved.port
    );
    let allow = [format!("localhost:{}", moved.port), format!("localhost:{}", there.port)];
    let control = wide.run(&json!({"language": "bash", "code": plain, "egress": {"allow": allow}}));
    assert_eq!(control.stdout, "scripted\n", "{control:?}");
    assert!(asked(&there) > 0);
    // A program that names another registry in its variables and files has what it asked for from the operator's.
    let before = asked(&moved);
    let evil = format!("http://localhost:{}/", moved.port);
    let mut overriding = request;
    overriding["env"] = json!({"npm_config_registry": evil, "NPM_CONFIG_REGISTRY": evil, "HTTP_PROXY": evil, "npm_config_proxy": evil});
    overriding["files"] = json!([{"path": ".npmrc", "text": format!("registry={evil}\nproxy={evil}\n")}]);
    assert_eq!(completed(&with_registry(&there), &overriding).stdout, "ran: false\n");
    assert_eq!(asked(&moved), before);
}

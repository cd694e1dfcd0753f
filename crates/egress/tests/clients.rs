//! The clients that people use, unchanged but for a variable of the environment that names the proxy.

use crate::world::{With, World, server};
use egress::Verdict;

/// A proxy that allows `ok.test` on the ports of the server, and knows two names more.
async fn world() -> World {
    let (http, https) = (server().http, server().https);
    let world = With::allow(&[&format!("ok.test:{http}"), &format!("ok.test:{https}")]).world().await;
    for name in ["ok.test", "other.test"] {
        world.names.set(name, &[&["127.0.0.1"]]);
    }
    world
}

#[tokio::test]
async fn curl() {
    let mut world = world().await;
    for url in [
        format!("http://ok.test:{}/hello.txt", server().http),
        format!("https://ok.test:{}/hello.txt", server().https),
    ] {
        let (done, said) = world.run("curl", &["-sS", &url]).await;
        assert!(done && said == "hello from the server\n", "{said}");
        let attempt = world.attempt().await;
        assert_eq!(
            (attempt.host.as_str(), attempt.verdict, attempt.reason.as_str()),
            ("ok.test", Verdict::Allowed, "")
        );
        assert!(attempt.bytes_up > 50 && attempt.bytes_down > 100);
    }
    let url = format!("http://other.test:{}/", server().http);
    let (_, said) = world.run("curl", &["-sS", "-w", "%{http_code}", &url]).await;
    let port = server().http;
    let reason = format!("other.test:{port} is not allowed: no entry of egress.allow names this host");
    assert_eq!(said, format!("fireclay egress: {reason}\n403"));
    let attempt = world.attempt().await;
    assert_eq!((attempt.verdict, attempt.reason, attempt.bytes_up), (Verdict::Refused, reason, 0));
    let (done, said) = world.run("curl", &["-sSv", "https://other.test/"]).await;
    assert!(!done && said.contains("403 other.test:443 is not allowed"), "{said}");
    assert_eq!(world.names.asked(), ["ok.test", "ok.test"]);
}

/// Bodies of both framings, a 100 in between, and an answer to each.
#[tokio::test]
async fn bodies() {
    let world = world().await;
    let file = server().files.join("big");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let body = format!("@{}", file.display());
    for scheme in ["http", "https"] {
        let port = if scheme == "http" { server().http } else { server().https };
        let url = format!("{scheme}://ok.test:{port}/echo");
        for field in ["Expect: 100-continue", "Transfer-Encoding: chunked"] {
            let (done, said) = world.run("curl", &["-sS", "-H", field, "--data-binary", &body, &url]).await;
            assert!(done && said.contains("\"body\": 3145728"), "{said}");
        }
    }
    assert!(world.proxy.totals().bytes_up > 12 << 20);
}

#[tokio::test]
async fn python() {
    let world = world().await;
    let fetch = "import sys, urllib.request as r\nprint(r.urlopen(sys.argv[1]).read().decode())";
    for url in [
        format!("http://ok.test:{}/hello.txt", server().http),
        format!("https://ok.test:{}/hello.txt", server().https),
    ] {
        let (done, said) = world.run("python3", &["-c", fetch, &url]).await;
        assert!(done && said.contains("hello from the server"), "{said}");
    }
    let (done, said) = world.run("python3", &["-c", fetch, "https://other.test/"]).await;
    assert!(!done && said.contains("403 other.test:443 is not allowed: no entry of egress.allow"), "{said}");
}

#[tokio::test]
async fn git() {
    let world = world().await;
    let source = server().files.join("work");
    let shell = format!(
        "git init -q {0} && cd {0} && echo text > file && git add file && \
         git -c user.name=a -c user.email=a@b commit -qm one && git clone -q --bare . ../work.git && \
         cd ../work.git && git update-server-info",
        source.display()
    );
    assert!(std::process::Command::new("sh").args(["-c", &shell]).status().unwrap().success());
    let to = server().files.join("cloned");
    let url = format!("https://ok.test:{}/work.git", server().https);
    let (done, said) = world.run("git", &["clone", "-q", &url, to.to_str().unwrap()]).await;
    assert!(done, "{said}");
    assert_eq!(std::fs::read_to_string(to.join("file")).unwrap(), "text\n");
    let (done, said) =
        world.run("git", &["clone", "-q", "https://other.test/work.git", "/nowhere/at/all"]).await;
    assert!(!done && said.contains("403"), "{said}");
}

#[tokio::test]
async fn pip() {
    let world = world().await;
    let index = server().files.join("simple/tiny");
    std::fs::create_dir_all(&index).unwrap();
    let wheel = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n z.writestr('tiny.py', '')\n \
        z.writestr('tiny-1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n')\n \
        z.writestr('tiny-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nTag: py3-none-any\\n')\n \
        z.writestr('tiny-1.dist-info/RECORD', '')\n";
    let file = index.join("tiny-1-py3-none-any.whl");
    assert!(std::process::Command::new("python3").args(["-c", wheel]).arg(&file).status().unwrap().success());
    std::fs::write(
        index.join("index.html"),
        "<a href=\"tiny-1-py3-none-any.whl\">tiny-1-py3-none-any.whl</a>",
    )
    .unwrap();
    let to = tempfile::tempdir().unwrap();
    let place = to.path().to_str().unwrap();
    let url = format!("https://ok.test:{}/simple/", server().https);
    let arguments =
        ["-m", "pip", "--no-cache-dir", "download", "--no-deps", "--retries", "1", "-d", place, "-i"];
    let (done, said) = world.run("python3", &[&arguments[..], &[&url, "tiny"]].concat()).await;
    assert!(done && to.path().join("tiny-1-py3-none-any.whl").exists(), "{said}");
    let (done, said) =
        world.run("python3", &[&arguments[..], &["https://other.test/simple/", "tiny"]].concat()).await;
    assert!(!done && said.contains("403 other.test:443 is not allowed"), "{said}");
}

/// Node's `fetch` reads no variable for proxies before version 24 (`NODE_USE_ENV_PROXY`), so its sockets are led by hand, as the
/// libraries do that npm and others use.
#[tokio::test]
async fn node() {
    let world = world().await;
    let script = "const [host, port] = process.argv[1].split(':');\n\
        const proxy = new URL(process.env.https_proxy);\n\
        const ask = require('http').request({host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: process.argv[1]});\n\
        ask.on('connect', (answer, socket) => {\n\
          if (answer.statusCode != 200) { console.log(answer.statusCode, answer.statusMessage); process.exit(1); }\n\
          require('https').get({socket, servername: host, host, path: '/hello.txt', agent: false}, (got) => got.pipe(process.stdout));\n\
        }).end();";
    let (done, said) = world.run("node", &["-e", script, &format!("ok.test:{}", server().https)]).await;
    assert!(done && said == "hello from the server\n", "{said}");
    let (done, said) = world.run("node", &["-e", script, "other.test:443"]).await;
    assert!(!done && said.starts_with("403 other.test:443 is not allowed"), "{said}");
}

/// npm speaks to its registry through the proxy by the same variables.
#[tokio::test]
async fn npm() {
    let world = world().await;
    let registry = server().files.join("npm");
    std::fs::create_dir_all(&registry).unwrap();
    let about = "{\"name\":\"tiny\",\"dist-tags\":{\"latest\":\"1.0.0\"},\"versions\":{\"1.0.0\":{\"name\":\"tiny\",\"version\":\"1.0.0\",\
        \"dist\":{\"tarball\":\"https://ok.test/t.tgz\",\"shasum\":\"\"}}}}";
    std::fs::write(registry.join("tiny"), about).unwrap();
    let home = tempfile::tempdir().unwrap();
    let cache = format!("--cache={}", home.path().display());
    let registry = format!("--registry=https://ok.test:{}/npm/", server().https);
    let arguments = ["view", "tiny", "version", "--fetch-retries=0", "--update-notifier=false", &cache];
    let (done, said) = world.run("npm", &[&arguments[..], &[&registry]].concat()).await;
    assert!(done && said.contains("1.0.0"), "{said}");
    let (done, said) =
        world.run("npm", &[&arguments[..], &["--registry=https://other.test/npm/"]].concat()).await;
    assert!(!done && said.contains("403"), "{said}");
}

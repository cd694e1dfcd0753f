//! `/docs` and `/openapi.json`: the reference works offline, and fetches nothing from elsewhere.

use fireclay_tests::Server;
use fireclay_tests::browser::Browser;
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn the_reference_fetches_only_what_this_service_has() {
    let server = Server::start(&[]);
    let page = server.send("GET", "/docs", &[], b"");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let may: Vec<&str> = page.header("content-security-policy").split(';').map(str::trim).collect();
    assert!(
        may.contains(&"default-src 'none'")
            && may.contains(&"script-src 'self'")
            && may.contains(&"connect-src 'self'")
    );
    let sources = may.iter().flat_map(|rule| rule.split(' ').skip(1));
    let known = ["'none'", "'self'", "'unsafe-inline'", "data:"];
    assert!(sources.clone().all(|source| known.contains(&source)), "{may:?}");
    assert!(
        may.iter().filter(|rule| rule.contains("unsafe-inline")).all(|rule| rule.starts_with("style-src "))
    );

    // Every script lies here and none stands in the page; nothing is named by a whole address.
    let text = page.text();
    assert!(!text.contains("://") && !text.contains("//cdn"), "{text}");
    let scripts: Vec<&str> =
        text.split("<script src=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(scripts.len(), text.matches("<script").count());
    for script in scripts {
        let answer = server.send("GET", script, &[], b"");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/javascript; charset=utf-8"),
            "{script}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(
            answer.header("content-encoding"),
            if script.ends_with("scalar.js") { "gzip" } else { "" }
        );
    }
    let start = server.send("GET", "/docs/start.js", &[], b"");
    for off in ["withDefaultFonts: false", "proxyUrl: \"\"", "telemetry: false", "url: \"/openapi.json\""] {
        assert!(start.text().contains(off), "{off}");
    }
    assert!(!start.text().contains("://"));
}

/// What a person sees: every route by its name, without a word to anybody else and without a complaint.
#[test]
fn a_browser_shows_every_route_and_asks_nobody_else() {
    let server = Server::start(&[]);
    let (_, description) = server.get_json("/openapi.json");
    let operations = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values());
    let names: Vec<&str> = operations.map(|operation| operation["summary"].as_str().unwrap()).collect();
    assert!(names.len() > 20);
    let mut browser = Browser::start();
    browser.open(&server.url("/docs"));
    let all_there = format!("{}.every(name => document.body.innerText.includes(name))", json!(names));
    browser.wait_until(&all_there);
    // What it would send a request of a reader's to: this service, by paths that it has.
    let text = browser.evaluate("document.documentElement.outerHTML");
    assert!(!text.as_str().unwrap().contains(&format!("{}/", server.url("/"))), "a path with two slashes");
    // Scalar compares descriptions with its own idea of OpenAPI, which lacks parts of 3.1 (such as a list of types), says in two lines
    // that ours is beyond it, and shows it all the same.
    let own = browser.complaints.iter().position(|said| said.contains("document validation errors"));
    own.into_iter().for_each(|at| drop(browser.complaints.drain(at..at + 2)));
    assert_eq!(browser.complaints, [""; 0]);
    let ours = |url: &&String| {
        url.starts_with(&server.url("/")) || url.starts_with("data:") || url.starts_with("blob:")
    };
    assert!(browser.requests.iter().any(|url| *url == server.url("/openapi.json")), "{:?}", browser.requests);
    assert_eq!(browser.requests.iter().filter(|url| !ours(url)).collect::<Vec<_>>(), [""; 0]);

    // Had it tried to, it would have been stopped and noticed.
    let tried = browser.evaluate("fetch('http://elsewhere.invalid/').then(() => 'let out', () => 'stopped')");
    assert_eq!(tried, "stopped");
    browser.evaluate("0");
    assert!(
        browser.complaints.iter().any(|said| said.contains("Content Security Policy")),
        "{:?}",
        browser.complaints
    );
}

#[test]
fn the_vendored_bundle_is_what_npm_gave() {
    let server = Server::start(&[]);
    let packed = server.send("GET", "/docs/scalar.js", &[], b"").body;
    let unpacked = "gunzip | sha256sum";
    let mut child = Command::new("sh")
        .args(["-c", unpacked])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&packed).unwrap();
    let digest = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    // @scalar/api-reference 1.46.4, dist/browser/standalone.js.
    assert_eq!(digest, "81b8d2bdab4a42ab81465386441b9a0f928b68631364360f00e8cce620cc1efb  -\n");
}

#[test]
fn the_description_that_is_served_is_the_one_that_is_committed() {
    let server = Server::start(&[]);
    let committed =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("api/openapi.json");
    assert_eq!(server.get("/openapi.json"), (200, std::fs::read(committed).unwrap()));
}

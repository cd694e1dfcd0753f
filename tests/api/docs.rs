//! `/docs` and `/openapi.json`: the reference works offline, and fetches nothing from elsewhere.

use fireclay_tests::Server;
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

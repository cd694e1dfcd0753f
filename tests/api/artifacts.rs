//! `/v1/runs/{id}/artifacts/{path}`: files of hostile code, whatever they are called, fetched and never shown.

use fireclay_tests::Server;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A path as it stands in a URL: every byte but letters, digits and the slash is encoded.
fn encoded(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'/' {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
    }
    text
}

#[test]
fn files_are_fetched_by_any_name_and_are_never_a_page() {
    let server = Server::start(&[]);
    let code = r#"
import os
names = ["plain.txt", "a\nb", "tab\there", "ünï/cödé 😀.txt", "..hidden", "...", ".. /x", "..%2f..%2fetc%2fpasswd", "%2e%2e",
         "a?b#c&d=e;f", "page.html", "x.svg", "quo\"te", "back\\slash", "-rf", "\u202egnp.exe", "a" * 255, "con:tent"]
for name in names:
    if "/" in name: os.makedirs(os.path.dirname(name), exist_ok=True)
    open(name, "w").write("<script>" + name)
for raw in (b"\xff", b"\xfe"):
    open(raw, "wb").write(b"raw" + raw)
print(repr(names))
"#;
    let result = server.run(&json!({"language": "python", "code": code}));
    assert_eq!(result.artifacts.len(), 20, "{result:?}");
    let mut contents = BTreeMap::new();
    for artifact in &result.artifacts {
        let path = format!("/v1/runs/{}/artifacts/{}", result.id, encoded(&artifact.path));
        let answer = server.send("GET", &path, &[], b"");
        assert_eq!((answer.status, answer.body.len() as u64), (200, artifact.bytes), "{artifact:?}");
        assert_eq!(answer.header("content-disposition"), "attachment");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("content-security-policy"), "sandbox; default-src 'none'");
        assert_eq!(answer.header("content-length"), artifact.bytes.to_string());
        assert_eq!(answer.header("etag"), format!("\"{}\"", artifact.sha256));
        contents.insert(artifact.path.clone(), answer.body);
    }
    for (path, content) in contents.iter().filter(|(path, _)| !path.contains('\u{fffd}')) {
        assert_eq!(std::str::from_utf8(content).unwrap(), format!("<script>{path}"));
    }
    for wrong in [
        "absent",
        "",
        "../artifacts/plain.txt",
        "%2e%2e/%2e%2e/store.db",
        "plain.txt/",
        "/etc/passwd",
        "plain.txt%00",
    ] {
        let answer = server.send("GET", &format!("/v1/runs/{}/artifacts/{wrong}", result.id), &[], b"");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{wrong}"
        );
    }
}

#[test]
fn a_large_file_is_streamed() {
    let server = Server::start(&[]);
    let code = "block = bytes(range(256)) * 4096\nwith open('large', 'wb') as f:\n    for _ in range(96): f.write(block)";
    let request = json!({"language": "python", "code": code, "limits": {"memory_bytes": 1 << 30}});
    let result = server.run(&request);
    assert_eq!(result.artifacts.len(), 1, "{result:?}");
    let before = server.resident_bytes();
    let answer = server.send("GET", &format!("/v1/runs/{}/artifacts/large", result.id), &[], b"");
    assert_eq!((answer.status, answer.body.len()), (200, 96 << 20));
    assert!(answer.body.chunks(256).all(|chunk| chunk.iter().copied().eq(0..=255)));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "the service holds {grown} bytes more");
}

#[test]
fn a_forgotten_run_has_no_files() {
    let server = Server::start(&[]);
    let result = server.run(&json!({"language": "bash", "code": "echo x > f"}));
    let path = format!("/v1/runs/{}/artifacts/f", result.id);
    assert_eq!(server.get(&path), (200, b"x\n".to_vec()));
    assert_eq!(server.delete(&format!("/v1/runs/{}", result.id)).0, 204);
    assert_eq!(server.get(&path).0, 404);
}

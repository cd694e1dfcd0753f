//! Whole directories in and out of a session as tar archives, and what is watched there.

use super::sessions::{open, run, said};
use fireclay_tests::Server;
use fireclay_tests::http::{self, Answer};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const TAR: (&str, &str) = ("content-type", "application/x-tar");

fn put(server: &Server, session: &str, path: &str, archive: &[u8]) -> Answer {
    server.send("PUT", &format!("{session}/archive?path={path}"), &[TAR], archive)
}

/// What `tar` makes of a directory.
fn tar(directory: &Path, options: &[&str]) -> Vec<u8> {
    let made = Command::new("tar").args(options).args(["-c", "-C"]).arg(directory).arg(".").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

/// The names that `tar` finds in an archive, with the bits and lengths that it shows.
fn names(archive: &[u8]) -> BTreeMap<String, (String, String)> {
    let mut child = Command::new("tar")
        .args(["-t", "-v", "--numeric-owner"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let archive = archive.to_vec();
    let writes = std::thread::spawn(move || stdin.write_all(&archive).unwrap());
    let said = child.wait_with_output().unwrap();
    writes.join().unwrap();
    assert!(said.status.success());
    let text = String::from_utf8(said.stdout).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[5].to_owned(), (fields[0].to_owned(), fields[2].to_owned()))
    };
    text.lines().map(row).collect()
}

#[test]
fn a_directory_goes_in_and_out_as_it_is() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let local = tempfile::tempdir().unwrap();
    let long = format!("{}/{}", "l".repeat(150), "m".repeat(150));
    std::fs::create_dir_all(local.path().join(&long)).unwrap();
    std::fs::create_dir(local.path().join("empty")).unwrap();
    let content: Vec<u8> = (0..=255u8).cycle().take(1_000_000).collect();
    std::fs::write(local.path().join("a.bin"), &content).unwrap();
    std::fs::write(local.path().join(&long).join("ö.txt"), "umlaut").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", local.path().join("link")).unwrap();
    for (format, path) in [("gnu", "g"), ("posix", "p/deep"), ("ustar", "u")] {
        if format == "ustar" {
            // Which cannot say names so long.
            std::fs::remove_dir_all(local.path().join("l".repeat(150))).unwrap();
        }
        let archive = tar(local.path(), &[&format!("--format={format}")]);
        let (status, told) = put(&server, &session, path, &archive).into_json();
        assert_eq!(status, 200, "{format}: {told}");
        assert_eq!(
            (&told["links_left_out"], &told["files"]),
            (&json!(1), &json!(if format == "ustar" { 1 } else { 2 }))
        );
        let code = format!(
            "import os\nprint(open('{path}/a.bin', 'rb').read() == bytes(range(256)) * 3906 + bytes(range(64)), os.path.lexists('{path}/link'), os.listdir('{path}/empty'))"
        );
        assert_eq!(said(&server, &session, &code), "True False []\n", "{format}");
    }
    assert_eq!(said(&server, &session, &format!("print(open('g/{long}/ö.txt').read())")), "umlaut\n");
    // Out, with what code made there.
    said(
        &server,
        &session,
        "os.chmod('g/a.bin', 0o755)\nos.symlink('/etc/shadow', 'g/shadow')\nos.mkfifo('g/pipe')",
    );
    let answer = server.send("GET", &format!("{session}/archive?path=g"), &[], b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-tar"));
    assert!(answer.header("content-security-policy").contains("sandbox"));
    let found = names(&answer.body);
    let listed: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        listed.iter().filter(|name| name.starts_with("a.bin") || name.starts_with("empty")).count(),
        2
    );
    assert!(!listed.iter().any(|name| name.contains("shadow") || name.contains("pipe")), "{listed:?}");
    assert_eq!(found["a.bin"], ("-rwxr-xr-x".to_owned(), "1000000".to_owned()));
    // What came out of one goes into another.
    let other = open(&server, &json!({}));
    let (_, told) = put(&server, &other, "", &answer.body).into_json();
    assert_eq!((&told["files"], &told["bytes"]), (&json!(2), &json!(1_000_006)), "{told}");
    assert_eq!(
        said(&server, &other, "import os\nprint(sorted(os.listdir())[0], os.access('a.bin', os.X_OK))"),
        "a.bin True\n"
    );
    // One file, the whole workspace, nothing.
    assert_eq!(names(&server.get(&format!("{session}/archive?path=g/a.bin")).1).len(), 1);
    assert!(names(&server.get(&format!("{session}/archive")).1).len() > 10);
    assert_eq!(server.get(&format!("{session}/archive?path=absent")).0, 404);
    assert_eq!(server.get(&format!("{session}/archive?path=g/shadow")).0, 409);
    assert_eq!(server.get(&format!("{session}/archive?path=../x")).0, 422);
    // Of a session that ended it goes out, and not in.
    assert_eq!(server.delete(&session).0, 200);
    assert_eq!(server.get(&format!("{session}/archive?path=g")).0, 200);
    assert_eq!(put(&server, &session, "", &answer.body).status, 409);
}

#[test]
fn an_archive_that_leads_elsewhere_is_refused_in_words() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    let local = tempfile::tempdir().unwrap();
    std::fs::write(local.path().join("a"), "x").unwrap();
    std::fs::hard_link(local.path().join("a"), local.path().join("b")).unwrap();
    let refused = |archive: &[u8], why: &str| {
        let (status, problem) = put(&server, &session, "", archive).into_json();
        assert_eq!(status, 422, "{why}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    };
    refused(&tar(local.path(), &[]), "hard link");
    refused(&tar(local.path(), &["--transform=s,a,../../a,", "-P"]), "..");
    refused(&tar(local.path(), &["--transform=s,^,/tmp/,", "-P"]), "absolute");
    refused(b"PK\x03\x04 this is none", "breaks off");
    refused(&[b'x'; 2048], "not a tar archive");
    let holes = std::fs::File::create(local.path().join("holes")).unwrap();
    holes.set_len(8 << 20).unwrap();
    for format in ["--format=gnu", "--format=posix"] {
        refused(&tar(local.path(), &["--sparse", "--exclude=./b", format]), "sparse");
    }
    // Links that code laid are not followed.
    said(&server, &session, "import os\nos.symlink('/tmp', 'up')\nos.symlink('/home', 'home')");
    std::fs::create_dir(local.path().join("up")).unwrap();
    std::fs::write(local.path().join("up/x"), "x").unwrap();
    let onto = tar(local.path(), &["--exclude=./b", "--exclude=./holes"]);
    assert_eq!(put(&server, &session, "", &onto).status, 409);
    assert_eq!(put(&server, &session, "home", &onto).status, 409);
    assert_eq!(
        said(&server, &session, "print(os.path.exists('/tmp/x'), os.path.exists('/home/a'))"),
        "False False\n"
    );
    let not_said =
        server.send("PUT", &format!("{session}/archive"), &[("content-type", "text/plain")], &onto);
    assert_eq!(not_said.status, 415);
    assert_eq!(said(&server, &session, "print(1)"), "1\n");
}

#[test]
fn what_does_not_fit_is_told_with_what_is_left() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({"limits": {"disk_bytes": 4 << 20}}));
    let local = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(local.path().join(name), vec![1; 2 << 20]).unwrap();
    }
    let (status, problem) = put(&server, &session, "", &tar(local.path(), &["--sort=name"])).into_json();
    assert_eq!(status, 507, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("bytes are left"), "{problem}");
    // Each is whole or not there.
    assert_eq!(
        said(&server, &session, "import os\nprint({name: os.stat(name).st_size for name in os.listdir()})"),
        "{'a': 2097152}\n"
    );
}

#[test]
fn a_large_archive_takes_no_memory_of_the_service() {
    const BYTES: u64 = 256 << 20;
    let server = Server::start(&[]);
    let asked = json!({"limits": {"disk_bytes": BYTES + (16 << 20), "memory_bytes": 64 << 20}});
    let session = open(&server, &asked);
    said(
        &server,
        &session,
        &format!(
            "with open('big', 'wb') as f:\n    for _ in range({}): f.write(bytes(1 << 20))",
            BYTES >> 20
        ),
    );
    let before = server.peak_bytes();
    let mut archive = http::reader("GET", &server.url(&format!("{session}/archive")));
    let other = open(&server, &asked);
    let sent = http::send_from("PUT", &server.url(&format!("{other}/archive")), &[TAR], &mut archive);
    let (status, told) = sent.unwrap().into_json();
    assert_eq!((status, &told["bytes"]), (200, &json!(BYTES)), "{told}");
    let grown = server.peak_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more for an archive of {BYTES}");
    let mut rest = Vec::new();
    archive.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn what_changes_is_told_as_it_was_done() {
    let server = Server::start(&[]);
    let session = open(&server, &json!({}));
    said(
        &server,
        &session,
        "import os\nos.makedirs('d/e')\nopen('d/a', 'w').write('1')\nopen('old', 'w').write('1')",
    );
    let mut watch = http::stream("GET", &server.url(&format!("{session}/watch?recursive=true")), &[], b"");
    let first = watch.next().unwrap();
    assert_eq!((first.kind.as_str(), &first.data["entries"]), ("watching", &json!(4)));
    let mut next = |kind: &str, path: &str| {
        let event = watch.next().unwrap();
        assert_eq!((event.kind.as_str(), event.data["path"].as_str()), (kind, Some(path)), "{event:?}");
        event.data
    };
    said(&server, &session, "open('new', 'w').write('12')");
    assert_eq!(next("created", "new")["bytes"], 2);
    said(&server, &session, "open('d/a', 'w').write('22')");
    next("changed", "d/a");
    assert_eq!(server.delete(&format!("{session}/files/old")).0, 204);
    next("removed", "old");
    let moving = json!({"from": "d", "to": "f"});
    assert_eq!(server.post_json(&format!("{session}/move"), &moving).0, 200);
    assert_eq!(next("moved", "f")["from"], "d");
    // What a program of its own does is seen, too, and an upload once it is whole.
    run(&server, &session, &json!({"language": "bash", "code": "mkdir g"}));
    next("created", "g");
    let bytes = [("content-type", "application/octet-stream")];
    assert_eq!(server.send("PUT", &format!("{session}/files/g/up"), &bytes, b"up").status, 200);
    next("created", "g/up");
    // No more than eight at once; one that went makes room.
    let url = server.url(&format!("{session}/watch"));
    let others: Vec<_> = (0..7).map(|_| http::stream("GET", &url, &[], b"")).collect();
    assert_eq!(server.get(&format!("{session}/watch")).0, 429);
    drop(others);
    assert_eq!(server.delete(&session).0, 200);
    let last = watch.last().unwrap();
    assert_eq!((last.kind.as_str(), &last.data["why"]), ("ended", &json!("closed")));
    assert_eq!(server.get(&format!("{session}/watch")).0, 409);
}

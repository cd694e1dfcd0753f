//! Fuzz targets: what must hold for any bytes at all.

use docs::{Library, Page};
use egress::body::{BadChunks, Chunks, LAST, Write};
use egress::request::{self, Request};
use egress::secret::Mask;
use egress::{hello, target::Target};
use model::limits::{DISPLAYS_MAX, FRAME_BYTES_MAX};
use model::{Language, spec::check_path, units};
use sandbox::command::Command;
use sandbox::frames::{Frames, Said};
use sandbox::output::Captured;
use std::sync::atomic::{AtomicU32, Ordering};

fn hear(pieces: &[&[u8]]) -> Said {
    let mut frames = Frames::default();
    pieces.iter().for_each(|piece| frames.push(piece));
    frames.finish()
}

/// The guest's frames: never a panic, the same in any pieces, and no more than the bounds allow.
#[test]
fn frames() {
    bolero::check!().with_type::<(Vec<u8>, usize)>().for_each(|(bytes, cut)| {
        let cut = cut.checked_rem(bytes.len().max(1)).unwrap_or(0);
        let whole = hear(&[bytes]);
        assert_eq!(whole, hear(&[&bytes[..cut], &bytes[cut..]]));
        assert!(whole.displays.len() <= DISPLAYS_MAX);
    });
}

/// Frames with a right head and any payload.
#[test]
fn framed_payloads() {
    bolero::check!().with_type::<Vec<(u8, Vec<u8>)>>().for_each(|frames| {
        let mut bytes = Vec::new();
        for (kind, payload) in frames {
            bytes.push(kind % 5);
            bytes.extend((payload.len() as u32).to_le_bytes());
            bytes.extend(payload);
        }
        assert!(bytes.len() <= FRAME_BYTES_MAX || hear(&[&bytes]) == Said::default());
        let said = hear(&[&bytes]);
        assert_eq!(said, hear(&bytes.chunks(3).collect::<Vec<_>>()));
    });
}

/// A path that is accepted stays below the workspace, whoever reads it.
#[test]
fn file_names() {
    bolero::check!().with_type::<String>().for_each(|path| {
        if check_path("path", path).is_ok() {
            let joined = std::path::Path::new("/workspace").join(path);
            assert!(joined.starts_with("/workspace") && joined != std::path::Path::new("/workspace"));
            assert!(joined.components().all(|part| !matches!(part, std::path::Component::ParentDir)));
            assert!(!path.contains(['\0', '\n', '\x1b']));
        }
    });
}

/// A command that init decodes is the one that was encoded; any other bytes are none, or one that encodes to as much.
#[test]
fn commands() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        if let Some(command) = Command::decode(bytes) {
            assert_eq!(Command::decode(&command.encode()), Some(command));
        }
    });
}

/// Output of any kind is bounded, and whole when it fits.
#[test]
fn output() {
    bolero::check!().with_type::<(Vec<Vec<u8>>, u8)>().for_each(|(pieces, limit)| {
        let mut captured = Captured::new(u64::from(*limit));
        for piece in pieces {
            captured.push(piece);
        }
        let whole = pieces.concat();
        assert_eq!(captured.total_bytes(), whole.len() as u64);
        if whole.len() <= usize::from(*limit) {
            assert_eq!(captured.text(), String::from_utf8_lossy(&whole));
        }
    });
}

/// What people type: never a panic.
#[test]
fn words() {
    bolero::check!().with_type::<String>().for_each(|text| {
        assert!(
            units::parse_bytes(text).is_err()
                || text.trim().starts_with(|c: char| c.is_ascii_digit() || c == '.')
        );
        assert!(
            units::parse_duration_ms(text).is_err()
                || text.trim().starts_with(|c: char| c.is_ascii_digit() || c == '.')
        );
        assert!(text.parse::<Language>().is_err() || text.is_ascii());
        assert!(Language::of_shebang(text).is_none() || text.starts_with("#!"));
    });
}

/// Programs that are checked: never a panic, and never more findings than there may be.
#[test]
fn checked_programs() {
    bolero::check!().with_type::<(u8, String)>().for_each(|(language, source)| {
        let language = Language::ALL[usize::from(*language) % Language::ALL.len()];
        for policy in model::CheckPolicy::ALL {
            assert!(check::check(source, language, policy).findings.len() <= check::FINDINGS_MAX);
        }
    });
}

/// Entries of packages, of Python and npm: never a panic, and what is accepted is printed as one line that is no option, path or URL, and reads as
/// the same again.
#[test]
fn package_entries() {
    bolero::check!().with_type::<String>().for_each(|entry| {
        if let Ok(requirement) = entry.parse::<packages::requirement::Requirement>() {
            let printed = requirement.to_string();
            assert_eq!(printed.parse().as_ref(), Ok(&requirement));
            assert!(
                printed.starts_with(|first: char| first.is_ascii_alphanumeric()) && !printed.contains('\n')
            );
            assert!(!printed.split(';').next().unwrap_or_default().contains(['/', '\\', '@', ':', ' ']));
        }
        if let Ok(requirement) = entry.parse::<packages::npm::Requirement>() {
            let printed = requirement.to_string();
            assert_eq!(printed.parse().as_ref(), Ok(&requirement));
            assert!(!printed.starts_with(['-', '.', '/']) && !printed.contains([':', '\n', '$']));
        }
    });
}

/// Files that say what a program needs: never a panic, and never more than the bounds allow.
#[test]
fn package_files() {
    bolero::check!().with_type::<String>().for_each(|text| {
        if let Ok(entries) = packages::requirements_txt::parse(text) {
            assert!(entries.len() <= packages::ENTRIES_MAX);
        }
        if let Ok(lock) = packages::lock::Lock::parse(text) {
            assert!(lock.entries().iter().all(|entry| !entry.hashes.is_empty()));
        }
        for text in [
            text.clone(),
            format!("[project]\ndependencies = [{text:?}]"),
            format!("# /// script\n# {text}\n# ///\n"),
        ] {
            let read =
                [packages::pyproject::parse(&text).ok(), packages::script::parse(&text).ok().flatten()];
            assert!(read.iter().flatten().all(|project| project.dependencies.len() <= packages::ENTRIES_MAX));
        }
        for text in [text.clone(), format!("{{\"dependencies\":{{\"x\":{text:?}}}}}")] {
            let needs = packages::package_json::parse(&text).unwrap_or_default();
            assert!(
                needs.len() <= packages::ENTRIES_MAX
                    && needs.iter().all(|need| packages::npm::is_name(&need.name))
            );
        }
    });
}

/// Programs whose imports are read: never a panic, and every distribution has a normalized name.
#[test]
fn imported_packages() {
    bolero::check!().with_type::<(u8, String)>().for_each(|(minor, source)| {
        for source in [
            source.clone(),
            format!("import {source}"),
            format!("try:\n from {source} import *\nexcept ImportError: pass"),
        ] {
            for need in packages::python::needs(&source, &["own.py"], *minor).unwrap_or_default() {
                assert!(need.root() != "own" && !packages::stdlib::has(need.root(), *minor));
            }
            for need in packages::javascript::needs(&source, minor % 2 == 0).unwrap_or_default() {
                assert!(packages::npm::is_name(&need.package));
            }
        }
    });
}

/// Pieces of heads, so that some of what is made of them is one.
const HEAD_PIECES: [&str; 20] = [
    "Host: a.b",
    "host:A.B:80",
    "Content-Length: 3",
    "Content-Length: 03",
    "Transfer-Encoding: chunked",
    "Connection: close, x",
    "Connection: te",
    "X: y",
    "Proxy-Authorization: z",
    "Upgrade: h2c",
    "TE: trailers",
    "Expect: 100-continue",
    " ",
    ":",
    "\t",
    "\r",
    "\n",
    "\0",
    "x",
    "\u{e4}",
];

/// A head that a proxy is sent: never a panic, the same end in any pieces, and what is passed on is one head, for one host.
#[test]
fn egress_heads() {
    bolero::check!().with_type::<(u8, Vec<u8>, usize)>().for_each(|(start, pieces, cut)| {
        let starts = [
            "POST http://a.b/x HTTP/1.1\r\nHost: a.b\r\n",
            "GET http://a.b HTTP/1.0\r\n",
            "CONNECT a.b:1 HTTP/1.1\r\n",
            "",
        ];
        let mut text = starts[usize::from(*start) % starts.len()].to_owned();
        for piece in pieces {
            text.push_str(HEAD_PIECES[usize::from(*piece) % HEAD_PIECES.len()]);
            text.push_str(if *piece < 220 { "\r\n" } else { "" });
        }
        let bytes = [text.as_bytes(), b"\r\n"].concat();
        let cut = cut.checked_rem(bytes.len()).unwrap_or(0);
        let in_pieces = match request::head_end(&bytes[..cut], 0) {
            Ok(None) => request::head_end(&bytes, cut),
            found => found,
        };
        assert_eq!(in_pieces, request::head_end(&bytes, 0));
        let Ok(Some(end)) = in_pieces else { return };
        assert!(request::asked(&bytes[..end]).bytes().all(|byte| byte.is_ascii_graphic()));
        if let Ok(Request::Plain(plain)) = request::parse(&bytes[..end]) {
            assert_eq!(request::head_end(&plain.head, 0), Ok(Some(plain.head.len())));
            let text = String::from_utf8_lossy(&plain.head).to_ascii_lowercase();
            let count = |name: &str| text.matches(&format!("\r\n{name}:")).count();
            assert_eq!((count("host"), count("connection")), (1, 1));
            assert!(count("content-length") + count("transfer-encoding") <= 1);
            assert_eq!(count("proxy-authorization") + count("upgrade") + count("te") + count("expect"), 0);
        }
    });
}

/// Any bytes as a head: never a panic.
#[test]
fn egress_bytes() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        assert!(request::parse(bytes).is_err() || bytes.ends_with(b"\r\n\r\n"));
    });
}

/// Pieces of bodies, so that some of what is made of them is one, and something behind it.
const BODY_PIECES: [&str; 20] = [
    "3\r\nabc\r\n",
    "00A\r\n0\r\n\r\n0\r\n\r\n\r\n",
    "0\r\n",
    "0\r\n\r\n",
    "X: y\r\n",
    "\r\n",
    "3;x=y\r\nabc\r\n",
    "ffffffff\r\n",
    "fffffffff\r\n",
    "+3\r\n",
    "3\nabc\n",
    "GET / HTTP/1.1\r\n\r\n",
    "a",
    "1",
    " ",
    "\t",
    "\r",
    "\n",
    "\0",
    "\u{e4}",
];

/// What is written for a body that is cut once, and how much of it was taken by its end; nothing if it has none, or is none.
fn passed(bytes: &[u8], cut: usize) -> (Vec<u8>, Result<Option<usize>, BadChunks>) {
    let (mut chunks, mut written, mut taken) = (Chunks::default(), Vec::new(), 0);
    for end in [cut, bytes.len()] {
        while taken < end {
            let (count, write) = match chunks.take(&bytes[taken..end]) {
                Ok(took) => took,
                Err(bad) => return (written, Err(bad)),
            };
            assert!(count > 0 && count <= end - taken);
            match write {
                Write::Nothing => {}
                Write::Line(line) => written.extend(line.bytes()),
                Write::Same => written.extend(&bytes[taken..taken + count]),
                Write::End => {
                    written.extend(LAST.bytes());
                    return (written, Ok(Some(taken + count)));
                }
            }
            taken += count;
        }
    }
    (written, Ok(None))
}

/// What a plain reader of chunks makes of a body: RFC 9112 §7.1.3, without what only strangers write.
fn decoded(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(data);
        }
        data.extend(bytes.get(end + 2..end + 2 + size)?);
        bytes = bytes.get(end + 2 + size..)?.strip_prefix(b"\r\n")?;
    }
}

/// A chunked body: never a panic, the same in any pieces, nothing taken that stands behind it, and what a server reads in it is what was meant, in
/// the one spelling that is read as itself.
#[test]
fn egress_bodies() {
    let ended = AtomicU32::new(0);
    bolero::check!().with_type::<(Vec<u8>, Vec<u8>, usize)>().for_each(|(pieces, raw, cut)| {
        let made: String =
            pieces.iter().map(|piece| BODY_PIECES[usize::from(*piece) % BODY_PIECES.len()]).collect();
        for bytes in [made.as_bytes(), raw] {
            let cut = cut.checked_rem(bytes.len().max(1)).unwrap_or(0);
            let whole = passed(bytes, 0);
            assert_eq!(passed(bytes, cut), whole);
            let (written, Ok(Some(end))) = whole else { continue };
            ended.fetch_add(1, Ordering::Relaxed);
            assert_eq!(
                passed(&[bytes, b"GET / HTTP/1.1\r\n"].concat(), cut),
                (written.clone(), Ok(Some(end)))
            );
            assert_eq!(passed(&written, 0), (written.clone(), Ok(Some(written.len()))));
            assert_eq!(decoded(&written), decoded(&bytes[..end]));
            assert!(decoded(&written).is_some());
        }
    });
    assert!(ended.load(Ordering::Relaxed) > 0, "no body of them all came to its end");
}

/// An answer of a server that was given secrets: never a panic, the same in any pieces, every byte of a word is masked and no other.
#[test]
fn egress_masks() {
    bolero::check!().with_type::<(Vec<Vec<u8>>, Vec<u8>, u8)>().for_each(|(words, text, size)| {
        // Few letters, so that words occur, overlap, and lie in each other.
        let few = |bytes: &[u8]| bytes.iter().map(|byte| b'a' + byte % 2).collect::<Vec<u8>>();
        let words: Vec<Vec<u8>> = words.iter().take(4).map(|word| few(&word[..word.len().min(9)])).collect();
        let text = few(text);
        let mut wanted = text.clone();
        for word in words.iter().filter(|word| !word.is_empty()) {
            for at in 0..=text.len().saturating_sub(word.len()) {
                if text[at..].starts_with(word) {
                    wanted[at..at + word.len()].fill(b'*');
                }
            }
        }
        let mut mask = Mask::new(words);
        let mut masked = Vec::new();
        for piece in text.chunks(usize::from(*size).max(1)) {
            masked.extend(mask.pass(piece));
        }
        masked.extend(mask.end());
        assert_eq!(masked, wanted);
    });
}

/// A target has one spelling, which is its own, and is no address to anybody who reads addresses.
#[test]
fn egress_targets() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        let letters = b"abcxXZ0179..--:::@%[]\0/ ";
        let text: Vec<u8> = bytes.iter().map(|byte| letters[usize::from(*byte) % letters.len()]).collect();
        for bytes in [bytes, &text] {
            if let Ok(target) = Target::parse(bytes, Some(80)) {
                assert_eq!(Target::parse(target.to_string().as_bytes(), None).as_ref(), Ok(&target));
                assert!(target.name.as_str().parse::<std::net::IpAddr>().is_err() && target.port > 0);
            }
        }
    });
}

/// A ClientHello: never a panic, and nothing that was certain changes when more bytes come.
#[test]
fn egress_hellos() {
    bolero::check!().with_type::<(u8, Vec<u8>, Vec<u8>, usize)>().for_each(
        |(form, extensions, rest, cut)| {
            let two = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
            let named = [&[0, 0, 0, 8, 0, 6, 0, 0, 3][..], b"a.b", extensions].concat();
            let start = [&[3, 3][..], &[0; 33], &[0, 2, 19, 1, 1, 0]].concat();
            let body = [start, if *form < 128 { two(&named) } else { two(extensions) }].concat();
            let message = [&[1, 0][..], &two(&body)].concat();
            let size = if *form % 2 == 0 { 1 + message.len() / 3 } else { message.len() };
            let records: Vec<u8> =
                message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &two(part)].concat()).collect();
            for bytes in [&[&records[..], rest].concat(), rest] {
                let cut = cut.checked_rem(bytes.len().max(1)).unwrap_or(0);
                let first = hello::parse(&bytes[..cut]);
                assert!(first == Ok(None) || first == hello::parse(bytes));
            }
        },
    );
}

/// A page of documentation, its robots.txt and its links: never a panic, and nothing leaves the place that it is of.
#[test]
fn docs_pages() {
    const PIECES: [&str; 32] = [
        "<main>",
        "</main>",
        "<nav>",
        "</nav>",
        "<pre>",
        "</pre>",
        "<code class=language-x>",
        "</code>",
        "<table>",
        "<tr>",
        "<td>",
        "</td>",
        "</table>",
        "<ul>",
        "<li>",
        "</ul>",
        "<blockquote>",
        "</blockquote>",
        "<h2>",
        "</h2>",
        "<a href='../x'>",
        "<title>",
        "</title>",
        "<script>",
        "</script>",
        "# ",
        "```",
        "\n",
        "\u{a0}",
        "w\u{fc}rd ",
        "disallow:*$",
        "user-agent:*",
    ];
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        let pieces: String = bytes.iter().map(|byte| PIECES[usize::from(*byte) % PIECES.len()]).collect();
        for text in [docs::decode(bytes, ""), pieces] {
            let page = docs::markdown::convert(&text);
            let url = "http://a/d/p".to_owned();
            let page = Page { url, title: page.title, markdown: page.markdown, is_cut: page.is_cut };
            let library = Library::new("http://a/d/", vec![page]);
            assert!(library.read("/d/p", 1).is_ok_and(|text| text.contains("never instructions")));
            assert!(library.about(&text, 10).is_none_or(|text| text.contains("http://a/d/p")));
            let robots = docs::Robots::parse(&text, "fireclay");
            assert!(docs::Robots::default().allows(&text) && (robots.allows(&text) || text.contains(':')));
            let scope = docs::Scope::of("http://a/d/").expect("it is a URL");
            assert!(
                scope.link(scope.start(), &text).is_none_or(|link| link.as_str().starts_with("http://a/d/"))
            );
        }
    });
}

//! Archives that people make, and those that nobody means well with.

use super::*;
use crate::session::pack::Packing;
use std::io::Read;
use std::os::fd::AsFd;
use tar::Builder;

/// A workspace, with the directory that holds it.
fn workspace() -> (tempfile::TempDir, Workspace) {
    let parent = tempfile::tempdir().unwrap();
    std::fs::create_dir(parent.path().join("workspace")).unwrap();
    let open = std::fs::File::open(parent.path()).unwrap();
    let workspace = Workspace::open(open.as_fd(), c"workspace", None).unwrap();
    (parent, workspace)
}

/// Unpacks an archive that comes in pieces of this length.
fn unpack(archive: &[u8], piece: usize, base: &str) -> (tempfile::TempDir, Result<Unpacked, NotUnpacked>) {
    let (parent, workspace) = workspace();
    let mut unpacking = Unpacking::into(workspace, base.to_owned());
    let taken = archive.chunks(piece).try_for_each(|piece| unpacking.take(piece));
    (parent, taken.and_then(|()| unpacking.finish()))
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o755);
    header.set_mtime(1_000_000_000);
    header
}

/// A name as it is written, whatever the library thinks of it.
fn raw(kind: EntryType, name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = header(kind, content.len() as u64);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all = parts.concat();
    all.resize(all.len() + 2 * BLOCK, 0);
    all
}

#[test]
fn a_tree_comes_out_as_it_went_in_however_it_is_cut() {
    let long = format!("d/{}/{}", "e".repeat(120), "f".repeat(120));
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header(EntryType::Directory, 0), "d/", std::io::empty()).unwrap();
    for (name, content) in [("d/a.txt", &b"hello"[..]), ("d/empty", b""), (&long, &[7; 3000])] {
        builder.append_data(&mut header(EntryType::Regular, content.len() as u64), name, content).unwrap();
    }
    let mut link = header(EntryType::Symlink, 0);
    builder.append_link(&mut link, "d/link", "/etc/passwd").unwrap();
    let archive = builder.into_inner().unwrap();
    for piece in [1, 7, 512, 100_000] {
        let (parent, unpacked) = unpack(&archive, piece, "into/here");
        let wanted = Unpacked { files: 3, bytes: 3005, directories: 1, links: 1 };
        assert_eq!(unpacked.unwrap(), wanted, "{piece}");
        let there = parent.path().join("workspace/into/here");
        assert_eq!(std::fs::read(there.join("d/a.txt")).unwrap(), b"hello");
        assert_eq!(std::fs::read(there.join(&long)).unwrap(), [7; 3000]);
        let modified = std::fs::metadata(there.join("d/empty")).unwrap().modified().unwrap();
        assert_eq!(modified, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        assert!(there.join("d/link").symlink_metadata().is_err());
        // And back.
        let open = std::fs::File::open(parent.path()).unwrap();
        let workspace = Workspace::open(open.as_fd(), c"workspace", None).unwrap();
        let mut packing = Packing::of(workspace, "into/here").unwrap().unwrap();
        let mut packed = Vec::new();
        while let Some(piece) = packing.next_piece().unwrap() {
            packed.extend(piece);
        }
        let mut names = Vec::new();
        for entry in tar::Archive::new(&packed[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            names.push((name, content.len(), entry.header().mode().unwrap()));
        }
        let directory = format!("d/{}", "e".repeat(120));
        let expected = [("d", 0), ("d/a.txt", 5), (&directory, 0), (&long, 3000), ("d/empty", 0)];
        assert_eq!(names, expected.map(|(name, length)| (name.to_owned(), length, 0o755)));
        let (_parent, again) = unpack(&packed, 1000, "");
        assert_eq!(again.unwrap(), Unpacked { files: 3, bytes: 3005, directories: 2, links: 0 });
    }
}

#[test]
fn what_leads_elsewhere_or_is_no_file_is_refused() {
    let record = |text: &str| raw(EntryType::XHeader, b"pax", text.as_bytes());
    let file = |name: &[u8]| raw(EntryType::Regular, name, b"x");
    let attacks = [
        ("up", vec![file(b"../x")]),
        ("up in the middle", vec![file(b"a/../../x")]),
        ("absolute", vec![file(b"/tmp/x")]),
        ("bytes", vec![file(b"\xff")]),
        ("control", vec![file(b"a\nb")]),
        (
            "a long name that climbs",
            vec![raw(EntryType::GNULongName, b"././@LongLink", b"../x\0"), file(b"x")],
        ),
        ("a record that climbs", vec![record("13 path=../x\n"), file(b"x")]),
        ("a record of sparse", vec![record("22 GNU.sparse.major=1\n"), file(b"x")]),
        ("a record that is none", vec![record("99 path=x\n"), file(b"x")]),
        ("a record for all", vec![raw(EntryType::XGlobalHeader, b"g", b"10 path=x\n"), file(b"x")]),
        ("hard link", vec![raw(EntryType::Link, b"x", b"")]),
        ("character device", vec![raw(EntryType::Char, b"x", b"")]),
        ("block device", vec![raw(EntryType::Block, b"x", b"")]),
        ("pipe", vec![raw(EntryType::Fifo, b"x", b"")]),
        ("sparse", vec![raw(EntryType::GNUSparse, b"x", b"")]),
        ("unknown", vec![raw(EntryType::new(b'Z'), b"x", b"")]),
        ("a name without end", vec![raw(EntryType::GNULongName, b"n", &[b'a'; 1 << 17]), file(b"x")]),
        (
            "damaged",
            vec![{
                let mut bytes = file(b"x");
                bytes[0] = b'y';
                bytes
            }],
        ),
    ];
    for (name, parts) in attacks {
        let (parent, unpacked) = unpack(&whole(&parts), 300, "");
        assert!(matches!(unpacked, Err(NotUnpacked::Refused(_))), "{name}: {unpacked:?}");
        assert_eq!(std::fs::read_dir(parent.path().join("workspace")).unwrap().count(), 0, "{name}");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn no_link_that_lies_there_is_followed() {
    let (parent, workspace) = workspace();
    std::os::unix::fs::symlink("..", parent.path().join("workspace/up")).unwrap();
    let mut unpacking = Unpacking::into(workspace, String::new());
    let archive = whole(&[raw(EntryType::Regular, b"up/x", b"x")]);
    let taken = unpacking.take(&archive);
    assert!(matches!(&taken, Err(NotUnpacked::Kernel(path, _)) if path == "up/x"), "{taken:?}");
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn what_breaks_off_leaves_no_half_of_a_file() {
    let archive =
        whole(&[raw(EntryType::Regular, b"a", &[1; 700]), raw(EntryType::Regular, b"b", &[2; 700])]);
    for (cut, left) in [(0, 0), (100, 0), (600, 0), (BLOCK * 3 + 600, 1)] {
        let (parent, unpacked) = unpack(&archive[..cut], 512, "");
        assert!(unpacked.is_err(), "{cut}");
        assert_eq!(std::fs::read_dir(parent.path().join("workspace")).unwrap().count(), left, "{cut}");
    }
    // Without the blocks of the end it is whole.
    assert!(unpack(&archive[..BLOCK * 6], 512, "").1.is_ok());
    // The size of a record is the size: another reading of the same bytes would see another file.
    let smuggled = raw(EntryType::Regular, b"inner", b"x");
    let record = raw(EntryType::XHeader, b"pax", b"13 size=1024\n");
    let mut outer = header(EntryType::Regular, 0);
    outer.as_mut_bytes()[..5].copy_from_slice(b"outer");
    outer.set_cksum();
    let (parent, unpacked) = unpack(&whole(&[record, outer.as_bytes().to_vec(), smuggled]), 512, "");
    assert_eq!(unpacked.unwrap().files, 1);
    assert_eq!(std::fs::metadata(parent.path().join("workspace/outer")).unwrap().len(), 1024);
}

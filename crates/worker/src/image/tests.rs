//! Builds real images of this machine and checks what they promise. What needs `chroot` says so when it cannot be had.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use tempfile::TempDir;

use super::*;

/// A data directory that goes away although images are read-only.
struct Data(TempDir);

impl Data {
    fn new() -> Data {
        Data(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn store(&self) -> ImageStore {
        ImageStore::open(self.path())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let images = self.path().join("images");
        if images.exists() {
            vault::remove_tree(&images).unwrap();
        }
    }
}

/// One image for all tests that only look.
struct Shared {
    store: ImageStore,
    image: Image,
    steps: Vec<Progress>,
}

/// Builds the shared image below `target/`: nothing runs when the last test ends, so a temporary directory would stay.
fn shared() -> &'static Shared {
    static BUILT: OnceLock<Shared> = OnceLock::new();
    BUILT.get_or_init(|| {
        let store = ImageStore::open(&Path::new(env!("OUT_DIR")).join("test-data"));
        let mut steps = Vec::new();
        let image = store.build(&options("default"), &mut |step| steps.push(step)).unwrap();
        Shared { store, image, steps }
    })
}

fn options(name: &str) -> BuildOptions {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    BuildOptions { name: name.to_owned(), ..BuildOptions::new(path) }
}

/// An image directory without the cost of building: enough for what only reads manifests.
fn pretend(store: &ImageStore, data: &Path, digit: char, names: &[&str]) -> Image {
    let real = &shared().image;
    let hex: String = std::iter::repeat_n(digit, 64).collect();
    let directory = data.join("images").join(&hex);
    fs::create_dir_all(directory.join("rootfs/usr")).unwrap();
    fs::set_permissions(directory.join("rootfs"), fs::Permissions::from_mode(0o555)).unwrap();
    let mut manifest = real.manifest.clone();
    manifest.digest = format!("sha256:{hex}");
    fs::write(directory.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    fs::create_dir_all(data.join("images/refs")).unwrap();
    for name in names {
        fs::write(data.join("images/refs").join(name), &manifest.digest).unwrap();
    }
    store.find(&hex).unwrap().unwrap()
}

/// Mounts what a sandbox would, in a mount namespace of its own, then becomes nobody inside the image.
const ENTER: &str = r#"
set -e
cd "$1"; shift
for name in null zero urandom; do mount --bind /dev/$name dev/$name; done
mount --rbind /proc proc
mount -t tmpfs none tmp
exec chroot --userspec=65534:65534 . /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin TERM=xterm LC_ALL=C.UTF-8 "$@"
"#;

/// Says whether this process may mount and change its root, which to be root is not enough for in a container.
fn may_enter() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let enter =
            Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        rustix::process::geteuid().is_root() && enter.is_ok_and(|output| output.status.success())
    })
}

/// Runs a program inside the image as nobody. `None`, loudly, without the right to mount and `chroot`.
fn inside(image: &Image, program: &[&str]) -> Option<String> {
    if !may_enter() {
        eprintln!("NOT CHECKED, needs the right to mount and chroot: {program:?}");
        return None;
    }
    let enter = Command::new("unshare")
        .args(["--mount", "sh", "-c", ENTER, "enter"])
        .arg(&image.rootfs)
        .args(program)
        .output();
    let output = enter.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{program:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn check(program: &[&str], expected: &str) {
    if let Some(text) = inside(&shared().image, program) {
        assert_eq!(text, expected, "{program:?}");
    }
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        visit(&path, &meta);
        if meta.is_dir() {
            walk(&path, visit);
        }
    }
}

#[test]
fn files_are_private_unprivileged_and_read_only() {
    let image = &shared().image;
    let mut files = 0;
    walk(&image.rootfs, &mut |path, meta| {
        assert!(meta.is_file() || meta.is_dir() || meta.is_symlink(), "{}", path.display());
        if meta.is_symlink() {
            return;
        }
        let mode = meta.mode() & 0o7777;
        assert!([0o444, 0o555].contains(&mode), "{mode:o} {}", path.display());
        if meta.is_file() {
            files += 1;
            assert_eq!(meta.nlink(), 1, "{}", path.display());
            let host = Path::new("/").join(path.strip_prefix(&image.rootfs).unwrap());
            if let Ok(host) = fs::metadata(host) {
                assert_ne!((host.dev(), host.ino()), (meta.dev(), meta.ino()), "{}", path.display());
            }
        }
    });
    assert_eq!(files, image.manifest.files);
    assert_eq!(fs::read_dir(&image.skeleton).unwrap().count(), 0);
}

#[test]
fn mount_points_are_there() {
    let image = &shared().image;
    for place in ["proc", "dev/shm", "tmp", "workspace", "home/sandbox", "run"] {
        assert_eq!(fs::read_dir(image.rootfs.join(place)).unwrap().count(), 0, "{place}");
    }
    for device in ["null", "zero", "full", "random", "urandom"] {
        let meta = fs::symlink_metadata(image.rootfs.join("dev").join(device)).unwrap();
        assert!(meta.is_file() && meta.len() == 0, "{device}");
    }
    assert_eq!(fs::read_link(image.rootfs.join("dev/fd")).unwrap(), Path::new("/proc/self/fd"));
    assert_eq!(fs::read_link(image.rootfs.join("bin")).unwrap(), Path::new("usr/bin"));
}

#[test]
fn nothing_tells_who_built_it() {
    let image = &shared().image;
    let python = image.manifest.runtimes.python.as_ref().expect("the tests need a Python on the host");
    assert!(["/usr", "/opt", "/nix"].iter().any(|start| python.path.starts_with(start)), "{python:?}");
    let host = &image.manifest.host.programs[0].path;
    let home = host.parent().and_then(Path::parent).unwrap().to_string_lossy().into_owned();
    if python.path.starts_with(&home) {
        return;
    }
    walk(&image.rootfs.join("opt"), &mut |path, meta| {
        if meta.is_file() {
            let bytes = fs::read(path).unwrap();
            let told = bytes.windows(home.len()).any(|window| window == home.as_bytes());
            assert!(!told, "{} names {home}", path.display());
        }
    });
}

#[test]
fn packages_of_the_host_stay_outside() {
    let image = &shared().image;
    walk(&image.rootfs, &mut |path, meta| {
        let name = path.file_name().unwrap();
        if meta.is_dir() && (name == "site-packages" || name == "dist-packages") {
            assert_eq!(fs::read_dir(path).unwrap().count(), 0, "{}", path.display());
        }
    });
    for tool in ["su", "sudo", "mount", "umount", "passwd", "gcc", "unshare", "nsenter"] {
        assert!(fs::symlink_metadata(image.rootfs.join("usr/bin").join(tool)).is_err(), "{tool}");
    }
}

#[test]
fn python_works_inside() {
    let modules = "ssl, sqlite3, ctypes, zoneinfo, decimal, lzma, bz2, curses, readline, uuid, hashlib, json";
    check(&["python3", "-c", &format!("import {modules}; print(1)")], "1");
    check(&["python", "-c", "import ctypes.util; print(ctypes.util.find_library('c'))"], "libc.so.6");
    check(
        &["python3", "-c", "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)"],
        "True",
    );
    check(&["python3", "-c", "import zoneinfo; print(zoneinfo.ZoneInfo('Europe/Paris'))"], "Europe/Paris");
    check(&["python3", "-c", "import socket; print(socket.getservbyname('https'))"], "443");
    check(&["python3", "-c", "import getpass, pwd; print(pwd.getpwuid(1000).pw_name)"], "sandbox");
    // Bytecode is there, and names files as they are inside.
    check(&["python3", "-c", "import json, os; print(os.path.exists(json.__cached__))"], "True");
    check(&["python3", "-c", "import json; print(json.loads.__code__.co_filename == json.__file__)"], "True");
}

#[test]
fn runners_are_there_and_compiled() {
    let guest = shared().image.rootfs.join("opt/fireclay/python");
    for name in ["runner.py", "runner.pyc"] {
        assert!(fs::metadata(guest.join(name)).unwrap().is_file(), "{name}");
    }
    // Bit 0 of the flags: the hash of the source; bit 1, to compare it when loading, is not set (PEP 552).
    assert_eq!(fs::read(guest.join("runner.pyc")).unwrap()[4..8], [1, 0, 0, 0]);
    assert!(!guest.join("build.py").exists());
}

#[test]
fn the_interpreters_are_what_the_manifest_says() {
    let image = &shared().image;
    let runtimes = &image.manifest.runtimes;
    let python = runtimes.python.as_ref().unwrap();
    let program = python.path.to_str().unwrap();
    let ask = "import sys; print(sys.executable, sys.version.split()[0])";
    check(&[program, "-I", "-c", ask], &format!("{program} {}", python.version));
    if let Some(node) = &runtimes.node {
        let program = node.path.to_str().unwrap();
        check(
            &[program, "-p", "process.execPath + ' ' + process.versions.node"],
            &format!("{program} {}", node.version),
        );
        check(&["node", "-p", "require('crypto').createHash('md5').update('x').digest('hex').length"], "32");
    }
    for path in
        [Some(python), runtimes.node.as_ref(), Some(&runtimes.bash)].into_iter().flatten().map(|it| &it.path)
    {
        let host = image.rootfs.join(path.strip_prefix("/").unwrap());
        assert!(fs::symlink_metadata(&host).unwrap().is_file(), "{}", host.display());
    }
}

#[test]
fn tools_work_inside() {
    check(&["bash", "-c", "echo a b | awk '{print $2}'"], "b");
    check(&["sh", "-c", "printf 'b\\na\\n' | sort | tr a-z A-Z | paste -s -d,"], "A,B");
    check(&["bash", "-c", "tar -cf - /etc/hosts 2>&- | tar -tf -"], "etc/hosts");
    check(&["bash", "-c", "echo /etc/hostname | xargs sed s/sand/s/"], "sbox");
    check(&["bash", "-c", "echo 'straße' | grep -o '.ß.'"], "aße");
    check(
        &["ldconfig", "-p", "-C", "/etc/ld.so.cache"],
        &inside(&shared().image, &["ldconfig", "-p"]).unwrap_or_default(),
    );
    let has = |tool: &str| shared().image.manifest.tools.iter().any(|name| name == tool);
    let ask: [(&str, &[&str], &str); 8] = [
        ("jq", &["jq", "-n", "[1,2]|add"], "3"),
        ("git", &["git", "check-ref-format", "--branch", "main"], "main"),
        ("sqlite3", &["sqlite3", ":memory:", "select 6*7"], "42"),
        ("bc", &["sh", "-c", "echo 2^10 | bc"], "1024"),
        ("perl", &["perl", "-e", "use strict; use File::Temp; print 1.5"], "1.5"),
        ("zstd", &["sh", "-c", "echo hi | zstd | zstd -d"], "hi"),
        ("openssl", &["sh", "-c", "echo hi | openssl base64"], "aGkK"),
        ("file", &["file", "-b", "--mime-type", "/etc/hosts"], "text/plain"),
    ];
    for (_, program, expected) in ask.into_iter().filter(|(tool, ..)| has(tool)) {
        check(program, expected);
    }
    for program in ["curl", "wget", "git", "make", "tar", "xz", "less"].into_iter().filter(|tool| has(tool)) {
        inside(&shared().image, &[program, "--version"]);
    }
}

#[test]
fn every_listed_tool_is_on_the_path() {
    let image = &shared().image;
    for tool in &image.manifest.tools {
        assert!(image.rootfs.join("usr/bin").join(tool).exists(), "{tool}");
    }
}

#[test]
fn the_digest_is_of_the_content_alone() {
    let Shared { store, image, .. } = shared();
    let data = Data::new();
    let again = data.store().build(&options("other"), &mut |_| {}).unwrap();
    assert_eq!(image.digest, again.digest);
    assert_eq!(store.verify(image).unwrap(), []);
    let listing = fs::read_to_string(image.rootfs.with_file_name("files.txt")).unwrap();
    assert_eq!(listing::digest(&listing), image.digest);

    change(&again);
    let mut differences = data.store().verify(&again).unwrap();
    differences.retain(|difference| difference.path != "/etc");
    let expected =
        [("/etc/hostname", Change::Changed), ("/etc/hosts", Change::Removed), ("/etc/new", Change::Added)];
    let expected = expected.map(|(path, change)| Difference { path: path.to_owned(), change });
    assert_eq!(differences, expected);
}

fn change(image: &Image) {
    let etc = image.rootfs.join("etc");
    fs::set_permissions(&etc, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(etc.join("hosts")).unwrap();
    fs::write(etc.join("new"), "").unwrap();
    fs::remove_file(etc.join("hostname")).unwrap();
    fs::write(etc.join("hostname"), "changed\n").unwrap();
}

#[test]
fn one_of_many_builds() {
    let data = Data::new();
    // What a killed builder leaves.
    fs::create_dir_all(data.path().join("images/.building-1/rootfs")).unwrap();
    let builds = AtomicUsize::new(0);
    let digests = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let count = &mut |step: Progress| {
                    if step.phase == Phase::Inspect {
                        builds.fetch_add(1, Ordering::Relaxed);
                    }
                };
                let image = data.store().ensure(&options("default"), count).unwrap();
                digests.lock().unwrap().push(image.digest);
            });
        }
    });
    assert_eq!(builds.into_inner(), 1);
    let mut digests = digests.into_inner().unwrap();
    digests.dedup();
    assert_eq!(digests.len(), 1);
    let mut left: Vec<_> =
        fs::read_dir(data.path().join("images")).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".lock", digests[0].strip_prefix("sha256:").unwrap(), "refs"].map(OsString::from));
}

#[test]
fn progress_never_goes_back() {
    let steps = &shared().steps;
    assert!(steps.windows(2).all(|pair| pair[0].done_bytes <= pair[1].done_bytes));
    assert!(steps.iter().all(|step| step.done_bytes <= step.total_bytes));
    let mut phases: Vec<_> = steps.iter().map(|step| step.phase).collect();
    phases.dedup();
    use Phase::{Check, Compile, Copy, Inspect, Store, Wait};
    assert_eq!(phases, [Wait, Inspect, Copy, Compile, Check, Store]);
}

#[test]
fn images_are_found_by_name_and_digest() {
    let Shared { store, image, .. } = shared();
    for name in ["default", &image.digest, &image.digest[7..], &image.digest[..20], &image.digest[7..13]] {
        assert_eq!(store.find(name).unwrap().as_ref(), Some(image), "{name}");
    }
    for name in ["other", "abc", "", "../default", "sha256:", "ffffffffff", "Default"] {
        assert_eq!(store.find(name).unwrap(), None, "{name}");
    }
    assert!(image.is_current() && !image.is_stale());
    let size = fs::metadata(image.rootfs.with_file_name("manifest.json")).unwrap().len();
    assert!(size < 16_384, "a manifest of {size} bytes slows every run");
}

#[test]
fn removing_a_name_keeps_what_others_name() {
    let data = Data::new();
    let store = data.store();
    let one = pretend(&store, data.path(), 'a', &["one", "first"]);
    let two = pretend(&store, data.path(), 'b', &["two"]);
    assert_eq!(store.list().unwrap().len(), 2);
    assert_eq!(store.remove("one").unwrap(), None);
    assert_eq!(store.find("first").unwrap(), Some(one.clone()));
    assert_eq!(store.remove("first").unwrap(), Some(one.digest));
    assert_eq!(store.remove(&two.digest[..16]).unwrap(), Some(two.digest));
    assert_eq!(store.list().unwrap(), []);
    assert!(matches!(store.remove("two"), Err(ImageError::NotFound { .. })));
    assert_eq!(fs::read_dir(data.path().join("images/refs")).unwrap().count(), 0);
}

#[test]
fn an_image_in_use_stays_until_it_is_let_go() {
    let data = Data::new();
    let store = data.store();
    let used = pretend(&store, data.path(), 'a', &["used"]);
    fs::create_dir_all(&used.rootfs).unwrap();
    let hold = used.hold().unwrap().unwrap();
    let second = used.hold().unwrap().unwrap();
    assert!(matches!(store.remove("used"), Err(ImageError::InUse { .. })));
    drop(hold);
    assert!(matches!(store.remove("used"), Err(ImageError::InUse { .. })), "the second still holds it");
    drop(second);
    assert_eq!(store.remove("used").unwrap(), Some(used.digest.clone()));
    assert!(used.hold().unwrap().is_none(), "what is gone cannot be held");
}

#[test]
fn ambiguous_digests_and_bad_names_are_refused() {
    let data = Data::new();
    let store = data.store();
    let image = pretend(&store, data.path(), 'a', &[]);
    let twin = format!("{}b", &image.digest[7..70]);
    fs::create_dir_all(data.path().join("images").join(twin)).unwrap();
    assert!(matches!(store.find("aaaaaaa"), Err(ImageError::Ambiguous { .. })));
    for name in ["", "../x", "A", "a/b", ".x", &"a".repeat(65)] {
        let built = store.ensure(&options(name), &mut |_| {});
        assert!(matches!(built, Err(ImageError::Name { .. })), "{name}");
    }
}

#[test]
fn a_missing_interpreter_is_named() {
    let data = Data::new();
    let options = BuildOptions { python: Some(PathBuf::from("/nowhere/python3")), ..options("default") };
    let error = data.store().build(&options, &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), "use /nowhere/python3 as an interpreter: it is missing or does not answer");
    assert!(!data.path().join("images/refs").exists());
}

#[test]
fn an_image_of_another_version_is_not_current() {
    let image = &shared().image;
    let mut other = image.clone();
    other.manifest.guest = "sha256:0".to_owned();
    assert!(!other.is_current());
    other = image.clone();
    other.manifest.schema += 1;
    assert!(!other.is_current());
    other.manifest.host.programs[0].bytes += 1;
    assert!(other.is_stale());
}

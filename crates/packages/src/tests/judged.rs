//! What policy says, in whose words, and what an environment is called.

use crate::agentrun::{self, Whitelist};
use crate::lock::{Environment, Interpreter, Lock};
use crate::name::Name;
use crate::npm_lock::NpmLock;
use crate::policy::{List, Policy};
use crate::python;
use crate::refused::Why;
use proptest::prelude::*;
use serde_json::{Value, json};

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    Policy { allow: List::parse(allow).expect("a list"), deny: List::parse(deny).expect("a list") }
}

#[test]
fn a_refusal_names_the_rule_and_the_package() {
    let strict =
        policy(&["pandas", "google-cloud-*", "Python_Dateutil"], &["google-cloud-kms", "*evil*", "a*b*c"]);
    let said = |package: &str| strict.judge(&name(package)).err().map(|denied| denied.to_string());
    for allowed in ["pandas", "Pandas", "google.cloud_storage", "python-dateutil"] {
        assert_eq!(said(allowed), None, "{allowed}");
    }
    assert_eq!(said("numpy").as_deref(), Some("package numpy is not in the list packages.allow"));
    assert_eq!(said("pandas2").as_deref(), Some("package pandas2 is not in the list packages.allow"));
    assert_eq!(
        said("Google-Cloud-KMS").as_deref(),
        Some("package google-cloud-kms is denied by the rule packages.deny = \"google-cloud-kms\"")
    );
    assert_eq!(
        said("very-evil-thing").as_deref(),
        Some("package very-evil-thing is denied by the rule packages.deny = \"*evil*\"")
    );
    // A dependency of what is allowed comes with it, unless it is denied.
    assert_eq!(strict.judge_locked(&name("numpy")), Ok(()));
    assert!(strict.judge_locked(&name("evil")).is_err());
    for (package, denied) in [("abc", true), ("axbxc", true), ("ab", false), ("abcd", false), ("acb", false)]
    {
        assert_eq!(strict.judge_locked(&name(package)).is_err(), denied, "{package}");
    }
    assert_eq!(policy(&["*"], &[]).judge(&name("anything")), Ok(()));
    assert!(Policy::default().judge(&name("anything")).is_err());
    for entry in ["", "a b", "a;b", "\u{e4}", &"a".repeat(129)] {
        assert_eq!(List::parse(&[entry]).expect_err("no pattern").why, Why::Name);
    }
}

#[test]
fn names_of_npm_are_compared_letter_by_letter() {
    let policy = policy(&["@types/*", "socket.io", "lodash"], &["@types/evil", "left.pad"]);
    for (package, allowed) in [
        ("@types/node", true),
        ("@types/evil", false),
        ("socket.io", true),
        ("socket-io", false),
        ("Lodash", false),
        ("lodash", true),
        ("@other/x", false),
    ] {
        assert_eq!(policy.judge_npm(package).is_ok(), allowed, "{package}");
    }
    let denied = policy.judge_npm("left.pad").expect_err("denied").to_string();
    assert_eq!(denied, "package left.pad is denied by the rule packages.deny = \"left.pad\"");
}

proptest! {
    /// A pattern covers what a regular reading of it says: try each way to place its pieces.
    #[test]
    fn patterns_are_globs(pattern in "[ab*]{1,6}", name in "[ab]{1,6}") {
        fn globs(pattern: &str, name: &str) -> bool {
            match pattern.split_at_checked(1) {
                None => name.is_empty(),
                Some(("*", rest)) => (0..=name.len()).any(|at| globs(rest, &name[at..])),
                Some((letter, rest)) => name.strip_prefix(letter).is_some_and(|name| globs(rest, name)),
            }
        }
        let policy = policy(&[&pattern], &[]);
        prop_assert_eq!(policy.judge(&name.parse::<Name>().expect("a name")).is_ok(), globs(&pattern, &name));
    }
}

/// The messages were captured from the running service (`seeds.md` R2).
#[test]
fn agentrun_is_answered_in_its_words() {
    let needs = python::needs("import numpy\nimport sklearn\nimport os", &[], 13).expect("a program");
    let list = |entries: &[&str]| Whitelist::new(entries.iter().map(|entry| (*entry).to_owned()).collect());
    assert_eq!(Whitelist::default().refusal(&needs), None);
    assert_eq!(list(&["*"]).refusal(&needs), None);
    assert_eq!(list(&[]).refusal(&needs).as_deref(), Some("Dependency: numpy is not in the whitelist."));
    assert_eq!(
        list(&["numpy"]).refusal(&needs).as_deref(),
        Some("Dependency: sklearn is not in the whitelist.")
    );
    assert_eq!(list(&["numpy", "sklearn"]).refusal(&needs), None);
    assert_eq!(list(&["numpy", "Scikit_Learn"]).refusal(&needs), None);
    assert_eq!(
        list(&["Numpy", "scikit"]).refusal(&needs).as_deref(),
        Some("Dependency: sklearn is not in the whitelist.")
    );
    assert_eq!(list(&[]).refusal(&python::needs("import os", &[], 13).expect("a program")), None);
    assert_eq!(agentrun::not_installed("nosuchpkg_zz"), "Failed to install dependency nosuchpkg_zz");
    assert_eq!(agentrun::CACHED_NOT_ALLOWED, "Some cached dependencies are not in the whitelist.");
    assert!(
        list(&["*"]).covers(&["x".to_owned()])
            && list(&["x"]).covers(&["x".to_owned()])
            && !list(&[]).covers(&["x".to_owned()])
    );
}

/// As `uv pip compile --generate-hashes` prints it.
const LOCK: &str = include_str!("uv.lock.txt");

fn interpreter() -> Interpreter {
    Interpreter::new("cpython", "3.13.0", "cp313", "linux_x86_64").expect("an interpreter")
}

fn address(lock: &str) -> String {
    Environment { interpreter: &interpreter(), lock: &Lock::parse(lock).expect("a lock") }.address()
}

/// A lock's entries, each with its lines.
fn entries() -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in LOCK.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match entries.last_mut().filter(|_| line.starts_with(' ')) {
            Some(entry) => *entry = format!("{entry}{line}\n"),
            None => entries.push(format!("{line}\n")),
        }
    }
    entries
}

#[test]
fn a_lock_of_uv_is_read() {
    let lock = Lock::parse(LOCK).expect("what uv printed");
    let names: Vec<String> =
        lock.entries().iter().map(|entry| format!("{}=={}", entry.requirement.name, entry.version)).collect();
    assert_eq!(names.len(), entries().len());
    assert!(names.len() >= 10 && names.iter().any(|name| name.starts_with("requests==")), "{names:?}");
    assert!(lock.entries().iter().all(|entry| !entry.hashes.is_empty()));
    assert!(lock.entries().iter().any(|entry| entry.requirement.marker.is_some()));
}

proptest! {
    #[test]
    fn an_address_is_the_same_in_any_order(mut shuffled in Just(entries()).prop_shuffle()) {
        prop_assert_eq!(address(&shuffled.concat()), address(LOCK));
        // One package less is another environment.
        shuffled.pop();
        prop_assert_ne!(address(&shuffled.concat()), address(LOCK));
    }
}

#[test]
fn an_address_is_of_what_is_installed() {
    let hash = |digit: &str| format!("--hash=sha256:{}", digit.repeat(64));
    let one = format!("a==1.0 {} {}\n", hash("1"), hash("2"));
    assert_eq!(
        address(&one),
        address(&format!("# x\nA == 1.0 \\\n    {} \\\n    {}\n    # via b\n", hash("2"), hash("1")))
    );
    let others = [
        format!("a==1.0 {}\n", hash("1")),
        format!("a==1.0 {} {}\n", hash("1"), hash("3")),
        format!("a==1.1 {} {}\n", hash("1"), hash("2")),
        format!("b==1.0 {} {}\n", hash("1"), hash("2")),
        format!("a[x]==1.0 {} {}\n", hash("1"), hash("2")),
        format!("a==1.0 ; os_name=='nt' {} {}\n", hash("1"), hash("2")),
        String::new(),
    ];
    for other in &others {
        assert_ne!(address(other), address(&one), "{other}");
    }
    let lock = Lock::parse(&one).expect("a lock");
    let with = |parts: [&str; 4]| {
        let interpreter = Interpreter::new(parts[0], parts[1], parts[2], parts[3]).expect("an interpreter");
        Environment { interpreter: &interpreter, lock: &lock }.address()
    };
    assert_eq!(with(["cpython", "3.13.0", "cp313", "linux_x86_64"]), address(&one));
    for parts in [
        ["pypy", "3.13.0", "cp313", "linux_x86_64"],
        ["cpython", "3.13.1", "cp313", "linux_x86_64"],
        ["cpython", "3.13.0", "cp313t", "linux_x86_64"],
        ["cpython", "3.13.0", "cp313", "linux_aarch64"],
    ] {
        assert_ne!(with(parts), address(&one), "{parts:?}");
    }
    // The form is a promise: whoever stored an environment finds it again.
    assert_eq!(
        Environment { interpreter: &interpreter(), lock: &Lock::default() }.canonical(),
        "fireclay-environment 1\ninterpreter cpython 3.13.0 cp313\nplatform linux_x86_64\n"
    );
    assert!(Interpreter::new("cpython", "3.13", "cp313", "linux_x86_64").is_err());
    assert!(Interpreter::new("cpython\n", "3.13.0", "cp313", "linux_x86_64").is_err());
    assert!(Interpreter::new("cpython", "3.13.0", "cp313", "").is_err());
}

#[test]
fn a_lock_is_strict() {
    let hash = format!("--hash=sha256:{}", "a".repeat(64));
    for (lock, why) in [
        (format!("a>=1 {hash}"), Why::Unpinned),
        (format!("a {hash}"), Why::Unpinned),
        (format!("a==1.* {hash}"), Why::Unpinned),
        (format!("a==1,==1 {hash}"), Why::Unpinned),
        (format!("a===1 {hash}"), Why::Unpinned),
        ("a==1".to_owned(), Why::Unhashed),
        (format!("a==1 {hash}\nA==2 {hash}"), Why::Twice),
        (format!("a @ https://evil.test/a.whl {hash}"), Why::Url),
        (format!("--index-url https://evil.test\na==1 {hash}"), Why::Option("--index-url".to_owned())),
    ] {
        assert_eq!(Lock::parse(&lock).expect_err(&lock).why, why, "{lock}");
    }
    assert!(Lock::parse(&format!("a==1 ; os_name=='a' {hash}\na==2 ; os_name!='a' {hash}")).is_ok());
}

#[test]
fn a_lock_of_npm_is_of_its_registry_and_each_entry_has_its_hash() {
    let base = "https://registry.npmjs.org";
    let of = |path: &str, entry: Value| {
        let text =
            json!({"lockfileVersion": 3, "packages": {"": {"dependencies": {}}, path: entry}}).to_string();
        NpmLock::parse(&text, base)
    };
    let good = json!({"version": "1.0.0", "resolved": "https://registry.npmjs.org/a/-/a-1.0.0.tgz", "integrity": "sha512-AA=="});
    let lock = of("node_modules/b/node_modules/@s/a", good.clone()).unwrap();
    assert_eq!(lock.packages(), ["@s/a 1.0.0"]);
    assert_eq!(lock.canonical(), "node_modules/b/node_modules/@s/a @s/a 1.0.0 sha512-AA==\n");
    // An alias is judged by what it is at the registry; what came within another's archive has neither place nor hash.
    let with = |key: &str, value: Value| {
        let mut entry = good.clone();
        entry[key] = value;
        entry
    };
    assert_eq!(of("node_modules/a", with("name", json!("real"))).unwrap().packages(), ["real 1.0.0"]);
    assert!(of("node_modules/a", json!({"version": "1.0.0", "inBundle": true})).is_ok());
    for (path, entry) in [
        ("node_modules/a", json!({"version": "1.0.0"})),
        ("node_modules/a", with("resolved", json!("https://registry.npmjs.org.evil.test/a.tgz"))),
        ("node_modules/a", with("resolved", json!("git+ssh://git@evil.test/a.git#1"))),
        ("node_modules/a", with("integrity", json!("md5-AA=="))),
        ("node_modules/a", with("integrity", json!(""))),
        ("node_modules/a", with("link", json!(true))),
        ("node_modules/a", with("name", json!("../a"))),
        ("node_modules/a", with("version", json!("1\n2"))),
        ("node_modules/../../etc", good.clone()),
        ("packages/a", good.clone()),
    ] {
        assert!(of(path, entry.clone()).is_err(), "{path} {entry}");
    }
    for text in ["", "[]", "{}", "{\"packages\": []}"] {
        assert!(NpmLock::parse(text, base).is_err(), "{text}");
    }
}

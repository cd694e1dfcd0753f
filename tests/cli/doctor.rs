//! `fireclay doctor` and `fireclay selftest`: as root or whoever runs the tests, as an ordinary user, and where no user namespace
//! can be made.

use fireclay_tests::run::{Ran, command, feed};
use fireclay_tests::{fireclay, image};
use insta::assert_snapshot;
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// `nobody` of every distribution.
const USER: u32 = 65_534;

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn checks(report: &Value) -> &Vec<Value> {
    report["checks"].as_array().expect("checks are a list")
}

fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    checks(report).iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id}"))
}

/// Failed checks that decide the verdict.
fn open(report: &Value) -> Vec<&str> {
    let matters = |check: &&Value| check["ok"] == false && check["severity"] != "advice";
    checks(report).iter().filter(matters).filter_map(|check| check["id"].as_str()).collect()
}

fn binary() -> PathBuf {
    command(image()).get_program().into()
}

/// A directory with a copy of the binary and a data directory, both usable by an ordinary user wherever the tests were built.
fn for_user() -> (TempDir, PathBuf, PathBuf) {
    let directory = TempDir::new().expect("a temporary directory");
    let (copy, data) = (directory.path().join("fireclay"), directory.path().join("data"));
    std::fs::copy(binary(), &copy).expect("the binary is copied");
    std::fs::create_dir(&data).expect("a new directory");
    for path in [directory.path(), &copy, &data] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        if is_root() {
            chown(path, Some(USER), Some(USER)).expect("root may");
        }
    }
    (directory, copy, data)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

fn as_user(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir("/");
    if is_root() {
        command.uid(USER).gid(USER);
    }
    command
}

#[test]
fn this_machine_is_ready_or_degraded_and_says_so() {
    let ran = fireclay(&["doctor", "--json"], b"");
    let report = report(&ran);
    assert_eq!((ran.code, report["level"].as_str()), (0, Some("default")), "{}", ran.stdout);
    let expected = if open(&report).is_empty() { "ready" } else { "degraded" };
    assert_eq!(report["verdict"], expected);
    assert!(check(&report, "run")["have"].as_str().unwrap().starts_with("`true` completed in "), "{report}");
    let text = fireclay(&["doctor"], b"");
    assert_eq!(text.stdout.lines().next_back(), Some(format!("default: {expected}").as_str()));
    assert!(!text.stdout.contains('\x1b'), "colour into a pipe");
}

#[test]
fn the_shape_of_the_report() {
    let report = report(&fireclay(&["doctor", "--json"], b""));
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    let of_check: Vec<&String> = checks(&report)[0].as_object().unwrap().keys().collect();
    let ids: Vec<String> = checks(&report)
        .iter()
        .map(|check| {
            format!(
                "{} {} {}",
                check["group"].as_str().unwrap(),
                check["id"].as_str().unwrap(),
                check["title"].as_str().unwrap()
            )
        })
        .collect();
    assert_snapshot!(format!("{keys:?}\n{of_check:?}\n\n{}", ids.join("\n")), @r#"
    ["level", "verdict", "checks"]
    ["id", "group", "title", "have", "need", "ok", "severity", "consequence", "fix"]

    namespaces userns user namespace
    namespaces uid-map user id map
    namespaces pidns process namespace
    namespaces netns network namespace
    namespaces ipcns IPC namespace
    namespaces utsns host-name namespace
    namespaces cgroupns control-group namespace
    namespaces nested-userns no nested namespaces
    files tmpfs tmpfs with a size
    files overlay overlay
    files proc process file system
    files mount-attributes mount_setattr and devices
    files pivot-root pivot_root
    rights capabilities dropping capabilities
    rights no-new-privs no_new_privs
    rights undumpable closed memory
    rights keyring the host's keys
    rights rlimits resource limits
    rights pidfd processes by descriptor
    rights close-range close_range
    filters seccomp system-call filter
    filters seccomp-32-bit 32-bit calls
    filters landlock Landlock
    filters landlock-scopes Landlock scopes
    cgroups cgroup a place for groups
    cgroups cgroup-memory memory limit
    cgroups cgroup-pids process limit
    cgroups cgroup-cpu processor limit
    cgroups cgroup-kill clone into, cgroup.kill
    image data-directory data directory
    image file-system its file system
    image disk-space free space
    image clock clock
    image image image
    image image-fresh its interpreters
    image image-digest its content
    image image-private its inodes
    image python Python
    image node JavaScript
    image bash bash
    image pythons other Pythons
    image declared-languages compiled and other languages
    run run a real run
    host kernel kernel
    host kernel-modules doubtful kernel modules
    host kernel.io_uring_disabled kernel.io_uring_disabled
    host kernel.unprivileged_bpf_disabled kernel.unprivileged_bpf_disabled
    host vm.unprivileged_userfaultfd vm.unprivileged_userfaultfd
    host kernel.yama.ptrace_scope kernel.yama.ptrace_scope
    host fs.protected_symlinks fs.protected_symlinks
    host fs.protected_hardlinks fs.protected_hardlinks
    host fs.protected_fifos fs.protected_fifos
    host fs.protected_regular fs.protected_regular
    host dev.tty.legacy_tiocsti dev.tty.legacy_tiocsti
    host core-dumps core dumps
    host swap swap
    host huge-pages transparent huge pages
    host smt hardware threads
    host cpu-vulnerabilities processor faults
    "#);
    for check in checks(&report) {
        let filled = |key: &str| check[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(filled("have") && filled("need") && filled("consequence"), "{check}");
        assert!(check["ok"] == false || check["fix"].is_null(), "a fix of what is well: {check}");
    }
}

#[test]
fn an_ordinary_user_lacks_at_most_the_control_group() {
    let (_directory, program, data) = for_user();
    let ran = feed(as_user(program.clone()).arg("--data").arg(&data).args(["doctor", "--json"]), b"");
    let report = report(&ran);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(open(&report).iter().all(|id| id.starts_with("cgroup")), "{report}");
    assert_eq!(check(&report, "run")["ok"], true);
    if open(&report).contains(&"cgroup") {
        let fix = check(&report, "cgroup")["fix"].as_str().unwrap();
        assert!(
            fix.contains("systemd-run --user --scope -p Delegate=yes") || fix.contains("/sys/fs/cgroup"),
            "{fix}"
        );
        assert_eq!(check(&report, "cgroup-memory")["have"], "not tried: no control group");
    }
    let ran = feed(as_user(program).arg("--data").arg(&data).args(["run", "-c", "print(1)"]), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "1\n"), "the verdict foretells the run: {}", ran.stderr);
}

#[test]
fn without_user_namespaces_the_verdict_is_refused_with_the_fix() {
    let limit = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let inside = |args: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-Ur", "sh", "-c", limit, "sh"]).arg(binary()).arg("--data").arg(image()).args(args);
        feed(&mut unshare, b"")
    };
    let ran = inside(&["doctor", "--json"]);
    let report = report(&ran);
    assert_eq!((ran.code, report["verdict"].as_str()), (1, Some("refused")), "{ran:?}");
    let fix = check(&report, "userns")["fix"].as_str().unwrap();
    assert!(fix.starts_with("sysctl -w user.max_user_namespaces="), "{fix}");
    assert_eq!(check(&report, "overlay")["have"], "not tried: no user namespace");
    assert!(check(&report, "run")["have"].as_str().unwrap().starts_with("not tried"), "{report}");
    assert_eq!(inside(&["run", "-c", "print(1)"]).code, 70, "the verdict foretells the run");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let ran = feed(command("/proc/nowhere".as_ref()).args(["doctor", "--json"]), b"");
    let report = report(&ran);
    assert_eq!((ran.code, report["verdict"].as_str()), (1, Some("refused")));
    assert!(check(&report, "data-directory")["fix"].as_str().unwrap().contains("--data DIR"));
    assert_eq!(open(&report).first(), Some(&"data-directory"), "{report}");
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    let text = fireclay(&["doctor", "--help"], b"").stdout;
    assert!(text.contains("Exit codes: 0 ready or degraded, 1 refused"), "{text}");
}

#[test]
fn the_selftest_keeps_score_of_a_group() {
    let ran = fireclay(&["selftest", "ns", "--json"], b"");
    let report = report(&ran);
    assert_eq!((ran.code, &report["not_held"]), (0, &Value::Array(Vec::new())), "{report}");
    let groups: Vec<&String> = report["groups"].as_object().unwrap().keys().collect();
    assert_eq!(groups, ["NS"]);
    assert_eq!(report["total"], report["groups"]["NS"]);
    assert!(report["total"]["held"].as_u64().unwrap() > 0);
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["image", "total", "groups", "not_held", "missing"]);
}

#[test]
fn the_selftest_rejects_a_group_that_is_not() {
    let ran = fireclay(&["selftest", "XX"], b"");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("XX"), "{}", ran.stderr);
}

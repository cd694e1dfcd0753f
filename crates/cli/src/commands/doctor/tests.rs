//! What a report means, and what fixes say, whatever machine the tests run on.

use super::advice::{is_repaired, version};
use super::check::{Check, Group, Severity};
use super::fixes::fix;
use super::surroundings::{Container, Surroundings};
use super::{Verdict, table, verdict};
use sandbox::probe::{Act, Failure};

fn check(severity: Severity, ok: bool) -> Check {
    Check::new(Group::Run, "id", "title")
        .needs("something")
        .matters(severity, "less")
        .read("nothing", ok, "do it")
}

#[test]
fn the_worst_open_check_decides_and_advice_never_does() {
    use Severity::{Advice, Degrading, Required};
    let of =
        |open: &[Severity]| verdict(&open.iter().map(|severity| check(*severity, false)).collect::<Vec<_>>());
    assert_eq!(of(&[]), Verdict::Ready);
    assert_eq!(of(&[Advice, Advice]), Verdict::Ready);
    assert_eq!(of(&[Advice, Degrading]), Verdict::Degraded);
    assert_eq!(of(&[Degrading, Required]), Verdict::Refused);
    assert_eq!(verdict(&[check(Required, true)]), Verdict::Ready);
}

#[test]
fn the_table() {
    let checks = [check(Severity::Required, true), check(Severity::Degrading, false)];
    insta::assert_snapshot!(table::text(&checks, false), @r"
    All of it                                HAVE                                              NEED
      ok   title                             nothing                                           something
      lack title                             nothing                                           something
             consequence  less
             fix          do it
    ");
    assert_eq!(table::verdict("default", Verdict::Degraded, false), "\ndefault: degraded");
    assert!(table::verdict("default", Verdict::Ready, true).contains("\x1b[32mready\x1b[0m"));
}

/// An ordinary user of an ordinary machine.
fn plain() -> Surroundings {
    Surroundings {
        root: false,
        in_user_namespace: false,
        container: None,
        filtered: false,
        apparmor_restricts: false,
        userns_clone_off: false,
        max_user_namespaces: Some(15_000),
        proc_covered: false,
        systemd: true,
        cgroup_version: None,
        program: "/usr/bin/fireclay".into(),
    }
}

#[test]
fn fixes_fit_the_place() {
    const EPERM: i32 = 1;
    const ENOSPC: i32 = 28;
    let docker = Surroundings {
        root: true,
        container: Some(Container::Docker),
        filtered: true,
        proc_covered: true,
        ..plain()
    };
    let kubernetes = Surroundings { container: Some(Container::Kubernetes), ..docker.clone() };
    let cases = [
        (
            "limit is zero",
            Act::UserNamespace,
            ENOSPC,
            Surroundings { max_user_namespaces: Some(0), ..plain() },
        ),
        ("Debian's switch", Act::UserNamespace, EPERM, Surroundings { userns_clone_off: true, ..plain() }),
        ("Ubuntu", Act::UserNamespace, EPERM, Surroundings { apparmor_restricts: true, ..plain() }),
        ("Docker", Act::UserNamespace, EPERM, docker.clone()),
        ("Docker, /proc", Act::Proc, EPERM, docker.clone()),
        ("Docker, groups", Act::Cgroup, 0, docker),
        ("Kubernetes", Act::UserNamespace, EPERM, kubernetes.clone()),
        ("Kubernetes, /proc", Act::Proc, EPERM, kubernetes),
        ("a user's groups", Act::Cgroup, 0, plain()),
        ("no Landlock", Act::Landlock, 0, plain()),
        ("one id", Act::UserIdMap, 0, Surroundings { root: true, in_user_namespace: true, ..plain() }),
    ];
    let text: Vec<String> = cases
        .map(|(place, act, errno, around)| {
            format!("{place}: {}", fix(act, &Failure { reason: String::new(), errno }, &around))
        })
        .into();
    insta::assert_snapshot!(text.join("\n"), @r"
    limit is zero: sysctl -w user.max_user_namespaces=15000 (here it is 0) (a line in /etc/sysctl.d/60-fireclay.conf keeps it)
    Debian's switch: sysctl -w kernel.unprivileged_userns_clone=1 (a line in /etc/sysctl.d/60-fireclay.conf keeps it)
    Ubuntu: printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile fireclay /usr/bin/fireclay flags=(unconfined) { userns, }\n' | sudo tee /etc/apparmor.d/fireclay && sudo apparmor_parser -r /etc/apparmor.d/fireclay
    Docker: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined …, or run fireclay on the host; never --privileged
    Docker, /proc: docker run --security-opt systempaths=unconfined …
    Docker, groups: docker run --cgroupns=private --mount type=bind,src=/sys/fs/cgroup,dst=/sys/fs/cgroup …
    Kubernetes: in the pod: hostUsers: false; in the container's securityContext: procMount: Unmasked and seccompProfile: {type: Unconfined} (or a Localhost profile that allows namespaces and mounts)
    Kubernetes, /proc: procMount: Unmasked in the container's securityContext (needs hostUsers: false)
    a user's groups: systemd-run --user --scope -p Delegate=yes fireclay …; if it gives no cpu or memory: sudo systemctl edit user@.service, with the lines [Service] and Delegate=cpu memory pids
    no Landlock: Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK=y, and `landlock` in the boot parameter, such as lsm=landlock,lockdown,yama,apparmor,bpf; until then: fireclay run --allow-missing landlock
    one id: run fireclay as an ordinary user, or give root ids to hand out: a range of them mapped into this namespace (unshare --map-users=auto)
    ");
}

#[test]
fn every_act_has_something_to_do() {
    for act in Act::ALL {
        for errno in [0, 1, 13, 19, 22, 28, 30, 38] {
            let fix = fix(act, &Failure { reason: String::new(), errno }, &plain());
            assert!(!fix.is_empty() && !fix.contains('\n'), "{act:?} {errno}: {fix}");
        }
    }
}

#[test]
fn kernels_are_known_by_their_number() {
    assert_eq!(version("6.18.44-amd64"), Some(((6, 18), 44)));
    assert_eq!(version("6.8.0-31-generic"), Some(((6, 8), 0)));
    assert_eq!(version("7.2"), Some(((7, 2), 0)));
    assert_eq!(version("what"), None);
    assert!(is_repaired((6, 18), 44) && is_repaired((7, 2), 0) && is_repaired((4, 13), 0));
    assert!(!is_repaired((6, 18), 34) && !is_repaired((6, 19), 9) && !is_repaired((5, 15), 200));
}

//! A plan keeps its promises for any limits and any machine.

use super::*;
use crate::cgroup::Tree;
use model::Policy;
use proptest::prelude::*;

fn host(cgroup: u8, landlock: i32, root: bool) -> Host {
    let cgroups = match cgroup {
        0 => Err("none here".to_owned()),
        1 => Ok(Tree::V1 { memory: "/m".into(), pids: "/p".into(), cpu: "/c".into() }),
        _ => Ok(Tree::V2 { parent: "/u".into() }),
    };
    let outside = if root {
        Outside::Reserved { base: 1_900_000_000, span: 1 << 22 }
    } else {
        Outside::Own { uid: 1234, gid: 1234 }
    };
    Host { outside: Ok(outside), cgroups, landlock, processors: 2 }
}

fn needs(limits: Limits) -> Needs {
    Needs {
        limits,
        allow_missing: [Layer::Cgroup, Layer::Landlock].into(),
        joinable: false,
        stays: false,
        egress: false,
    }
}

#[test]
fn the_default_plan_as_root_on_version_1() {
    insta::assert_snapshot!(plan(&needs(Policy::DEFAULT.limits), &host(1, 7, true)).unwrap());
}

#[test]
fn the_default_plan_of_an_ordinary_user_without_cgroups() {
    insta::assert_snapshot!(plan(&needs(Policy::DEFAULT.limits), &host(0, 7, false)).unwrap());
}

#[test]
fn the_plan_of_a_sandbox_that_a_fork_may_enter() {
    let needs = Needs { joinable: true, ..needs(Policy::DEFAULT.limits) };
    insta::assert_snapshot!(plan(&needs, &host(1, 7, true)).unwrap());
}

#[test]
fn a_required_layer_that_is_not_to_be_had_is_refused_by_name() {
    let strict = Needs {
        limits: Policy::DEFAULT.limits,
        allow_missing: BTreeSet::new(),
        joinable: false,
        stays: false,
        egress: false,
    };
    insta::assert_snapshot!(plan(&strict, &host(0, 7, false)).unwrap_err(), @"this machine cannot give the layer cgroup: none here");
    insta::assert_snapshot!(plan(&strict, &host(2, 0, true)).unwrap_err(), @"this machine cannot give the layer landlock: the kernel has no Landlock, or it is switched off");
}

#[test]
fn a_whole_plan_has_every_layer() {
    for cgroup in [1, 2] {
        assert_eq!(
            plan(&needs(Policy::DEFAULT.limits), &host(cgroup, 7, true)).unwrap().layers(),
            Layer::ALL
        );
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<u64>(), any::<u64>(), 0.0..1e6f64, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(timeout_ms, memory_bytes, cpus, processes, disk_bytes, output_bytes)| Limits {
            timeout_ms,
            memory_bytes,
            cpus,
            processes,
            disk_bytes,
            output_bytes,
        },
    )
}

proptest! {
    #[test]
    fn a_fork_sheds_what_an_executed_job_has_not(limits in limits(), cgroup in 0u8..3, landlock in 0i32..9, root in any::<bool>()) {
        let needs = Needs { joinable: true, ..needs(limits) };
        let plan = plan(&needs, &host(cgroup, landlock, root)).unwrap();
        let names: Vec<&str> = plan.joining.iter().map(|step| step.action.name()).collect();
        let place = |name: &str| names.iter().position(|other| *other == name);
        let end: &[&str] = if landlock > 0 { &["no-new-privileges", "landlock", "seccomp"] } else { &["no-new-privileges", "seccomp"] };
        prop_assert!(names.ends_with(end));
        prop_assert_eq!(place("join-cgroup").is_some(), cgroup > 0);
        // Its paths are out of sight afterwards, and so is the zygote's own group.
        prop_assert!(place("join-cgroup") < place("enter-namespaces"));
        prop_assert!(place("become-undumpable") < place("enter-namespaces"));
        prop_assert!(place("enter-namespaces") < place("become-user"));
        prop_assert!(place("become-user") < place("drop-capabilities"));
        prop_assert!(place("drop-capabilities") < place("become-dumpable"));
        // Whatever an executed job sheds, a fork does.
        let executed = plan.of(Actor::Job).map(|(_, step)| step.action.name());
        for name in executed.filter(|name| !["die-with-parent", "reset-signals"].contains(name)) {
            prop_assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn every_plan_keeps_the_promises(limits in limits(), cgroup in 0u8..3, landlock in 0i32..9, root in any::<bool>()) {
        let plan = plan(&needs(limits), &host(cgroup, landlock, root)).unwrap();
        let names: Vec<&str> = plan.steps.iter().map(|step| step.action.name()).collect();
        let place = |name: &str| names.iter().position(|other| *other == name);

        // The end is always the same.
        let end: &[&str] = if landlock > 0 { &["no-new-privileges", "landlock", "seccomp"] } else { &["no-new-privileges", "seccomp"] };
        prop_assert!(names.ends_with(end));
        // Rights go before the job is forked, and what needs them comes before that.
        prop_assert!(place("drop-capabilities") < place("fork-job"));
        prop_assert!(place("verify-mounts") < place("drop-capabilities"));
        prop_assert!(place("mask-proc") < place("mount-directories"));
        prop_assert!(place("mount-devices") < place("forbid-namespaces"));
        prop_assert!(place("forbid-namespaces") < place("pivot-root"));
        // Dying with the parent is said again after the change of id.
        let last = names.iter().rposition(|name| *name == "drop-capabilities").unwrap();
        let again = names[..last].iter().rposition(|name| *name == "die-with-parent");
        prop_assert!(again > place("become-user"));
        // Actors take turns in one order.
        let actors: Vec<u8> = plan.steps.iter().map(|step| step.actor as u8).collect();
        prop_assert!(actors.is_sorted());
        for step in &plan.steps {
            match &step.action {
                // No step names a path of the host: all mounts are the image, tmpfs, proc and five devices.
                Action::MapIds(outside) => prop_assert!((1..4_000_000).all(|pid| outside.ids(pid * 7 % 4_194_304).0 != 0)),
                Action::MountScratch { inodes, .. } => prop_assert!(INODES.contains(inodes)),
                _ => {}
            }
        }
        prop_assert_eq!(plan.missing.contains(&Layer::Cgroup), cgroup == 0);
        prop_assert_eq!(plan.missing.contains(&Layer::Landlock), landlock == 0);
    }
}

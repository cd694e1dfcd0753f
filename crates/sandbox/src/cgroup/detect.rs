//! Where control groups can be made: read from `/proc` (cgroups(7)).

use super::Tree;
use std::fs;
use std::path::{Path, PathBuf};

/// One cgroup mount: where, and which part of the hierarchy is seen there.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    options: &'a str,
}

fn cgroup_mounts<'a>(mountinfo: &'a str, kind: &str) -> Vec<Mount<'a>> {
    let parse = |line: &'a str| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let mut left = left.split(' ').skip(3);
        (right.next()? == kind).then_some(Mount {
            root: left.next()?,
            point: left.next()?,
            options: right.nth(1)?,
        })
    };
    mountinfo.lines().filter_map(parse).collect()
}

/// The caller's own groups of version 1, by `mountinfo` and `cgroup` of its process; or why there are none to be written in.
pub fn v1(mountinfo: &str, own: &str) -> Result<Tree, String> {
    let mounts = cgroup_mounts(mountinfo, "cgroup");
    let directory = |controller: &str| -> Result<PathBuf, String> {
        let has = |list: &str| list.split(',').any(|name| name == controller);
        let mount = mounts
            .iter()
            .find(|mount| has(mount.options))
            .ok_or(format!("no {controller} hierarchy is mounted"))?;
        let path = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            has(controllers).then_some(path)
        });
        let path = path.ok_or(format!("not in a {controller} group"))?;
        let below = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(path);
        let directory = PathBuf::from(format!("{}{below}", mount.point));
        writable(&directory).map(|()| directory)
    };
    Ok(Tree::V1 { memory: directory("memory")?, pids: directory("pids")?, cpu: directory("cpu")? })
}

/// The nearest group of version 2 that can give its children all three controllers; or why there is none.
pub fn v2(mountinfo: &str, own: &str) -> Result<Tree, String> {
    let (point, lowest) = own_of_version_2(mountinfo, own)?;
    let mut wrong = String::from("no group is writable");
    // Own group first, then its ancestors: a group with processes in it cannot give controllers to children (cgroup-v2.rst).
    for directory in lowest.ancestors().take_while(|directory| directory.starts_with(point)) {
        match writable(directory).and_then(|()| enable_controllers(directory)) {
            Ok(()) => return Ok(Tree::V2 { parent: directory.to_owned() }),
            Err(error) => wrong = error,
        }
    }
    Err(wrong)
}

/// The caller's own group of version 2, which has perhaps no controllers, if others can be made in it; or why not.
pub fn of_version_2(mountinfo: &str, own: &str) -> Result<PathBuf, String> {
    let (_, directory) = own_of_version_2(mountinfo, own)?;
    writable(&directory).map(|()| directory)
}

/// Where the hierarchy is mounted, and the caller's own group in it.
fn own_of_version_2<'a>(mountinfo: &'a str, own: &str) -> Result<(&'a str, PathBuf), String> {
    let mounts = cgroup_mounts(mountinfo, "cgroup2");
    let mount = mounts.first().ok_or("no hierarchy is mounted")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("not in a group")?;
    let below = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(path);
    Ok((mount.point, PathBuf::from(format!("{}{below}", mount.point))))
}

fn enable_controllers(directory: &Path) -> Result<(), String> {
    let read = |file: &str| {
        fs::read_to_string(directory.join(file)).map_err(|error| format!("read {file}: {error}"))
    };
    let missing = |have: &str| -> Vec<&str> {
        ["memory", "pids", "cpu"]
            .into_iter()
            .filter(|name| !have.split_whitespace().any(|word| word == *name))
            .collect()
    };
    let absent = missing(&read("cgroup.controllers")?);
    if !absent.is_empty() {
        return Err(format!("{} has no controller {}", directory.display(), absent.join(", ")));
    }
    for name in missing(&read("cgroup.subtree_control")?) {
        let file = directory.join("cgroup.subtree_control");
        fs::write(&file, format!("+{name}"))
            .map_err(|error| format!("enable {name} in {}: {error}", directory.display()))?;
    }
    Ok(())
}

fn writable(directory: &Path) -> Result<(), String> {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)
        .map_err(|errno| format!("{} is not writable: {errno}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_controller() {
        let info = "40 32 0:34 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n\
                    41 32 0:35 /a /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    42 32 0:36 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let mounts = cgroup_mounts(info, "cgroup");
        assert_eq!(mounts.len(), 2);
        assert_eq!(
            (mounts[1].root, mounts[1].point, mounts[1].options),
            ("/a", "/sys/fs/cgroup/cpu", "rw,cpu,cpuacct")
        );
    }
}

//! Reads the finished sandbox's mounts back and compares them with what was planned: a wrong or extra mount stops the launch.

use crate::plan::{DEVICES, DIRECTORIES};
use std::collections::BTreeMap;
use sys::{Error, Result};

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The overlay of the image, read-only.
    Root,
    /// Part of the scratch file system, without devices.
    Scratch,
    /// A device node, whatever the host keeps it on.
    Device,
    /// The process file system.
    Proc,
    /// A read-only file or directory over an entry of `/proc`.
    Cover,
}

/// Compares the caller's mounts with the plan; `covered` are the entries of `/proc` that must be hidden.
pub fn mounts(covered: &[String]) -> Result<()> {
    let text = sys::fs::read_kernel_file(c"/proc/self/mountinfo")?;
    if matches(&text, covered) {
        Ok(())
    } else {
        Err(Error { call: "mounts differ from the plan", errno: libc::EINVAL })
    }
}

/// Whether the mounts of `mountinfo` (proc(5)) are exactly those expected: none missing, none more.
fn matches(mountinfo: &str, covered: &[String]) -> bool {
    let mut expected: BTreeMap<String, (Expected, usize)> = BTreeMap::new();
    let mut expect = |place: String, what| expected.entry(place).or_insert((what, 0)).1 += 1;
    expect("/".into(), Expected::Root);
    expect("/proc".into(), Expected::Proc);
    // The root of the scratch file system, hidden below its own `tmp`.
    expect("/tmp".into(), Expected::Scratch);
    DIRECTORIES.iter().for_each(|(_, place, _)| expect((*place).into(), Expected::Scratch));
    DEVICES.iter().for_each(|name| expect(format!("/dev/{name}"), Expected::Device));
    covered.iter().for_each(|place| expect(place.clone(), Expected::Cover));
    for line in mountinfo.lines() {
        let Some((place, options, kind)) = fields(line) else { return false };
        let Some((what, left)) = expected.get_mut(place) else { return false };
        let has = |option: &str| options.split(',').any(|word| word == option);
        let right = has("nosuid")
            && match what {
                Expected::Root => kind == "overlay" && has("ro") && has("nodev"),
                Expected::Scratch => kind == "tmpfs" && has("nodev"),
                Expected::Device => has("ro") && has("noexec"),
                Expected::Proc => kind == "proc" && has("nodev") && has("noexec"),
                Expected::Cover => has("ro") && has("nodev"),
            };
        if !right || *left == 0 {
            return false;
        }
        *left -= 1;
    }
    expected.values().all(|(_, left)| *left == 0)
}

/// Mount point, mount options and file-system type of one line.
fn fields(line: &str) -> Option<(&str, &str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    Some((left.next()?, left.next()?, right.split(' ').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> String {
        let mut lines = vec![
            "1 0 0:1 / / ro,nosuid,nodev - overlay overlay ro".to_owned(),
            "2 1 0:2 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw".to_owned(),
            "3 1 0:3 / /proc rw,nosuid,nodev,noexec - proc proc rw".to_owned(),
            "4 3 0:2 /proc/empty /proc/keys ro,nosuid,nodev,noexec - tmpfs tmpfs rw".to_owned(),
        ];
        lines.extend(
            DIRECTORIES
                .map(|(name, place, _)| format!("5 1 0:2 /{name} {place} rw,nosuid,nodev - tmpfs tmpfs rw")),
        );
        lines.extend(
            DEVICES.map(|name| format!("6 1 0:5 /{name} /dev/{name} ro,nosuid,noexec - devtmpfs dev rw")),
        );
        lines.join("\n")
    }

    #[test]
    fn only_the_plan_is_accepted() {
        let covered = ["/proc/keys".to_owned()];
        let good = good();
        assert!(matches(&good, &covered));
        assert!(!matches(&good, &[]), "a cover nobody planned");
        assert!(!matches(&good.replace("/ ro,nosuid", "/ rw,nosuid"), &covered), "a writable root");
        assert!(
            !matches(&good.replace("/dev/null ro,nosuid", "/dev/null ro"), &covered),
            "set-user-id honoured"
        );
        assert!(
            !matches(&format!("{good}\n9 1 0:9 / /host rw,nosuid,nodev - ext4 /dev/vda rw"), &covered),
            "one more"
        );
        let fewer: Vec<&str> = good.lines().filter(|line| !line.contains("/proc/keys")).collect();
        assert!(!matches(&fewer.join("\n"), &covered), "one less");
    }
}

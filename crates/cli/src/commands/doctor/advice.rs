//! How the machine is set up beyond what a sandbox needs: settings that make every program on it safer. Advice only, reads only.

use super::check::{Check, Group, Severity};
use super::surroundings::sysctl;
use std::fs;

/// All advice.
pub fn checks() -> Vec<Check> {
    let mut checks = vec![kernel(), modules()];
    checks.extend(SYSCTLS.iter().map(Setting::check));
    checks.extend([core_pattern(), swap(), huge_pages(), threads(), mitigations()]);
    checks
}

fn check(id: &'static str, title: &'static str) -> Check {
    Check::new(Group::Host, id, title)
}

/// A kernel setting and the values of it that are well.
struct Setting {
    id: &'static str,
    path: &'static str,
    good: &'static [&'static str],
    consequence: &'static str,
}

const SYSCTLS: [Setting; 9] = [
    Setting {
        id: "kernel.io_uring_disabled",
        path: "kernel/io_uring_disabled",
        good: &["2", "1"],
        consequence: "other programs reach io_uring, a frequent way into the kernel; sandboxes never do",
    },
    Setting {
        id: "kernel.unprivileged_bpf_disabled",
        path: "kernel/unprivileged_bpf_disabled",
        good: &["1", "2"],
        consequence: "other programs may load BPF without rights; sandboxes never do",
    },
    Setting {
        id: "vm.unprivileged_userfaultfd",
        path: "vm/unprivileged_userfaultfd",
        good: &["0"],
        consequence: "kernel bugs are easier to exploit by other programs",
    },
    Setting {
        id: "kernel.yama.ptrace_scope",
        path: "kernel/yama/ptrace_scope",
        good: &["1", "2", "3"],
        consequence: "any program of a user can read the memory of that user's others, fireclay's too",
    },
    Setting {
        id: "fs.protected_symlinks",
        path: "fs/protected_symlinks",
        good: &["1"],
        consequence: "links in shared directories can misdirect programs of root",
    },
    Setting {
        id: "fs.protected_hardlinks",
        path: "fs/protected_hardlinks",
        good: &["1"],
        consequence: "users can link to files that they may not write",
    },
    Setting {
        id: "fs.protected_fifos",
        path: "fs/protected_fifos",
        good: &["1", "2"],
        consequence: "pipes in shared directories can misdirect programs of root",
    },
    Setting {
        id: "fs.protected_regular",
        path: "fs/protected_regular",
        good: &["1", "2"],
        consequence: "files in shared directories can misdirect programs of root",
    },
    Setting {
        id: "dev.tty.legacy_tiocsti",
        path: "dev/tty/legacy_tiocsti",
        good: &["0"],
        consequence: "programs can type into the terminal they were started from; sandboxes have none",
    },
];

impl Setting {
    fn check(&self) -> Check {
        let wanted = self.good[0];
        let value = sysctl(self.path);
        let ok = value.as_deref().is_none_or(|value| self.good.contains(&value));
        let fix =
            format!("sysctl -w {}={wanted} (a line in /etc/sysctl.d/60-fireclay.conf keeps it)", self.id);
        check(self.id, self.id)
            .needs(self.good.join(" or "))
            .matters(Severity::Advice, self.consequence)
            .read(value.unwrap_or_else(|| "not in this kernel".to_owned()), ok, &fix)
    }
}

/// The faults of 2026 that reach the page cache or the kernel from an ordinary program, and by which stable release of which
/// series all of them are repaired, as far as we know. A distribution may repair an older number.
const FAULTS: &str =
    "CVE-2026-31431 (Copy Fail), CVE-2026-43284, CVE-2026-43500 (Dirty Frag), CVE-2026-46300 (Fragnesia)";
const REPAIRED: [((u32, u32), u32); 1] = [((6, 18), 35)];
/// From this series on, none of them was ever released.
const REPAIRED_SERIES: (u32, u32) = (7, 2);
/// Before this one, the oldest of them is not in yet.
const FIRST_SERIES: (u32, u32) = (4, 14);

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let ok = version(&release).is_some_and(|(series, patch)| is_repaired(series, patch));
    check("kernel", "kernel")
        .needs("one without the faults of 2026")
        .matters(Severity::Advice, "if they are not repaired, programs outside of sandboxes become root; inside, the ways in are closed one by one")
        .read(release, ok, &format!("ask your distribution whether this kernel has the repairs of {FAULTS}; update within a day of such news"))
}

/// Whether a kernel of this number is free of the known faults.
pub(super) fn is_repaired(series: (u32, u32), patch: u32) -> bool {
    series < FIRST_SERIES
        || series >= REPAIRED_SERIES
        || REPAIRED.iter().any(|(known, from)| *known == series && patch >= *from)
}

/// Series and patch of a release such as `6.18.44-amd64`.
pub(super) fn version(release: &str) -> Option<((u32, u32), u32)> {
    let mut numbers = release.split(|at: char| !at.is_ascii_digit()).map(|number| number.parse().ok());
    Some(((numbers.next()??, numbers.next()??), numbers.next().flatten().unwrap_or(0)))
}

/// Modules that the faults of 2026 were in, and that few machines need.
const DOUBTFUL_MODULES: [&str; 7] =
    ["algif_aead", "algif_skcipher", "algif_hash", "esp4", "esp6", "rxrpc", "vsock_loopback"];

fn modules() -> Check {
    let loaded = fs::read_to_string("/proc/modules").unwrap_or_default();
    let loaded: Vec<&str> = loaded
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| DOUBTFUL_MODULES.contains(name))
        .collect();
    let have = if loaded.is_empty() { "none of them".to_owned() } else { loaded.join(" ") };
    let lines: Vec<String> = loaded.iter().map(|name| format!("install {name} /bin/false")).collect();
    let fix = format!(
        "if nothing needs them: printf '{}\\n' > /etc/modprobe.d/fireclay.conf, and restart",
        lines.join("\\n")
    );
    check("kernel-modules", "doubtful kernel modules")
        .needs("none loaded")
        .matters(
            Severity::Advice,
            "other programs reach the parts of the kernel that the faults of 2026 were in",
        )
        .read(have, loaded.is_empty(), &fix)
}

fn core_pattern() -> Check {
    let pattern = sysctl("kernel/core_pattern").unwrap_or_default();
    // A limit of 1 keeps even a piped handler from starting (core(5)), and every sandbox has it.
    let have = if pattern.starts_with('|') {
        "a program, which sandboxes never start"
    } else {
        "a file, which sandboxes never write"
    };
    check("core-dumps", "core dumps")
        .needs("none from a sandbox")
        .matters(Severity::Advice, "a crash would leave memory on the machine's disk")
        .read(have, true, "")
}

fn swap() -> Check {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    // Memory that is compressed stays memory.
    let disks: Vec<&str> = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !name.contains("zram"))
        .collect();
    let have = if disks.is_empty() { "none".to_owned() } else { disks.join(" ") };
    check("swap", "swap")
        .needs("none, or encrypted")
        .matters(Severity::Advice, "what programs hold in memory may be found on the disk later")
        .read(have, disks.is_empty(), "swapoff -a and take it out of /etc/fstab, or encrypt it")
}

fn huge_pages() -> Check {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let mode =
        text.split('[').nth(1).and_then(|rest| rest.split(']').next()).unwrap_or("not there").to_owned();
    let ok = mode != "always";
    check("huge-pages", "transparent huge pages")
        .needs("madvise or never")
        .matters(
            Severity::Advice,
            "memory is counted in steps of 2 MiB, so that small runs reach their limit sooner",
        )
        .read(mode, ok, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
}

fn threads() -> Check {
    let active = fs::read_to_string("/sys/devices/system/cpu/smt/active").unwrap_or_default();
    let on = active.trim() == "1";
    check("smt", "hardware threads")
        .needs("off where tenants distrust each other")
        .matters(Severity::Advice, "two runs may share a core, and one can time the other")
        .read(
            if on { "on" } else { "off" },
            !on,
            "echo off > /sys/devices/system/cpu/smt/control, or boot with nosmt",
        )
}

fn mitigations() -> Check {
    let entries = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten();
    let mut open: Vec<String> = entries
        .filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.starts_with("Vulnerable")))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    open.sort();
    let have = if open.is_empty() {
        "every known one is dealt with".to_owned()
    } else {
        format!("open: {}", open.join(" "))
    };
    check("cpu-vulnerabilities", "processor faults")
        .needs("none open")
        .matters(Severity::Advice, "programs may read memory of others across the processor's own walls")
        .read(have, open.is_empty(), "update microcode and kernel, and do not boot with mitigations=off")
}

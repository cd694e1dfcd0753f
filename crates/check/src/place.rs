//! What kind of place a path names, as far as its text says.

use crate::facts::UNKNOWN;

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the workspace, or not known.
    Own,
    /// Meant for anything: /tmp, /workspace, /mnt/data, …
    Scratch,
    /// The workspace itself, or all in it.
    Everything,
    /// The root, a directory of the system, or below one.
    System,
    /// The home directory as a whole, or a dot file of it.
    Home,
    /// Another absolute path, or above the workspace.
    Outside,
}

/// The place that a path names.
pub fn place(path: &str) -> Place {
    const SCRATCH: [&str; 16] = [
        "/tmp",
        "/workspace",
        "/dev/shm",
        "/dev/null",
        "/dev/stdout",
        "/dev/stderr",
        "/dev/stdin",
        "/dev/tty",
        "/dev/fd",
        "/mnt/data",
        "/data",
        "/content",
        "/app",
        "/var/tmp",
        "/code",
        "/output",
    ];
    const SYSTEM: [&str; 18] = [
        "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/root", "/sys", "/proc", "/dev", "/var",
        "/opt", "/home", "/run", "/srv", "/System", "/Library",
    ];
    let path = path.trim().trim_start_matches("file://");
    // Whoever climbs so far from wherever he is, is at the root.
    if path.contains("../..")
        && let Some(last) = path.rfind("../")
        && path[..last].matches("../").count() >= 3
    {
        return place(&path[last + 2..]);
    }
    let path = if path.starts_with("./../") { &path[2..] } else { path };
    let windows = path.len() <= 3 && path.as_bytes().get(1) == Some(&b':') || path.starts_with("C:\\Windows");
    if path.starts_with(UNKNOWN) || path.is_empty() {
        return Place::Own;
    }
    let below =
        |place: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if SCRATCH.iter().any(|scratch| below(scratch)) {
        return if path.contains("/..") { Place::Outside } else { Place::Scratch };
    }
    if windows
        || matches!(path, "/" | "/*" | "//" | "/." | "/.*")
        || SYSTEM.iter().any(|system| below(system))
    {
        return Place::System;
    }
    if matches!(path, "~" | "~/" | "~/*" | "~/.*") || path.starts_with("~/.") {
        return Place::Home;
    }
    if matches!(path, "." | "./" | "*" | "./*" | ".." | "../" | "../*" | ".*" | "./.*" | "{*,.*}") {
        return Place::Everything;
    }
    if path.starts_with('/') || path.starts_with('~') || path.starts_with("../..") {
        return Place::Outside;
    }
    Place::Own
}

/// Whether deleting all at a path takes more than a program's own: the root, a directory of the system, somebody's home. What lies
/// deeper has a name of its own (`/var/lib/apt/lists`, `~/.cache/pip`), and is only outside.
pub fn is_wide(path: &str) -> bool {
    let trimmed = path.trim().trim_start_matches("file://");
    if let Some(last) = trimmed.rfind("../")
        && trimmed[..last].matches("../").count() >= 3
    {
        return is_wide(&trimmed[last + 2..]);
    }
    let trimmed = if trimmed.starts_with("./../") { &trimmed[2..] } else { trimmed };
    let known = |part: &&str| !part.is_empty() && !part.contains([UNKNOWN, '*']) && *part != ".";
    let depth = trimmed.split('/').filter(known).count();
    match place(trimmed) {
        Place::Home => matches!(trimmed, "~" | "~/" | "~/*" | "~/.*"),
        Place::System => {
            // Below these people and programs have directories of their own.
            let shared = ["/opt", "/srv"].iter().any(|shared| trimmed.starts_with(shared));
            depth <= if shared { 1 } else { 2 }
        }
        Place::Outside if trimmed.starts_with('/') => depth <= 1,
        Place::Outside => trimmed.split('/').all(|part| matches!(part, ".." | "*" | "")),
        Place::Everything | Place::Own | Place::Scratch => false,
    }
}

/// Whether what a file holds is no business of another machine: it lies outside the workspace, or its name says that it is secret.
pub fn is_private(path: &str) -> bool {
    const SECRETS: [&str; 11] = [
        ".env",
        ".pem",
        ".key",
        ".p12",
        ".pfx",
        "secret",
        "passw",
        "credential",
        "token",
        "wallet",
        "id_rsa",
    ];
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    matches!(place(path), Place::System | Place::Home | Place::Outside)
        || SECRETS.iter().any(|secret| name.contains(secret))
}

/// Whether a path is one of those from which things are started.
pub fn starts_things(path: &str) -> bool {
    const NAMES: [&str; 46] = [
        ".bash_login",
        ".bash_logout",
        ".bash_aliases",
        ".zshenv",
        ".zlogin",
        ".xinitrc",
        ".xprofile",
        ".xsession",
        ".inputrc",
        "fish/config.fish",
        "/etc/profile",
        "usercustomize.py",
        "/etc/environment",
        "/etc/sudoers",
        "/etc/pam.d",
        "/etc/ld.so",
        "/etc/inittab",
        "/etc/apt/apt.conf.d",
        "/udev/rules.d",
        "/etc/modules",
        "LaunchDaemons",
        "Start Menu",
        "~/.gitconfig",
        "~/.config/git/",
        "~/.config/pip/",
        "~/.pip/",
        "~/.pypirc",
        "~/.npmrc",
        "~/.yarnrc",
        "/etc/pip.conf",
        ".bashrc",
        ".bash_profile",
        ".profile",
        ".zshrc",
        ".zprofile",
        "authorized_keys",
        "/cron",
        "crontab",
        "rc.local",
        "/autostart/",
        "/systemd/",
        "/init.d/",
        "LaunchAgents",
        "sitecustomize.py",
        "ld.so.preload",
        "/.ssh/",
    ];
    let pth = path.ends_with(".pth") && (path.contains("site-packages") || path.contains("dist-packages"));
    pth || NAMES.iter().any(|name| path.contains(name))
}

/// How much a path matters, to choose one of many by: one that is wide most, then one that is private, then one that is known.
pub fn weight(path: &str) -> u8 {
    if is_wide(path) || starts_things(path) {
        3
    } else if is_private(path) {
        2
    } else {
        u8::from(!path.starts_with(UNKNOWN) && !path.is_empty())
    }
}

/// Whether a path is where people keep what they made: as a whole, or all of a kind in it.
pub fn is_personal(path: &str) -> bool {
    const KEPT: [&str; 7] = ["Documents", "Desktop", "Pictures", "Downloads", "Videos", "Music", "Library"];
    let home = path
        .strip_prefix("~/")
        .or_else(|| path.strip_prefix("/home/")?.split_once('/').map(|(_, rest)| rest));
    home.is_some_and(|rest| KEPT.contains(&rest.split('/').next().unwrap_or(rest)))
        || is_wide(path)
        || matches!(path, "/mnt" | "/media" | "/srv" | "/data")
}

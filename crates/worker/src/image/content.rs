//! Decides what goes into the default image besides the interpreters: tools, libraries, data, `/etc`, `/dev`. Fills a
//! [`Tree`]; copies nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::interpreters::Found;
use super::loader::{self, Loader, Needs};
use super::tools;
use super::tree::{Node, Source, Tree};
use super::{BuildOptions, ImageError, guest, interpreters};

/// What an image will hold.
pub(super) struct Content {
    pub(super) tree: Tree,
    pub(super) python: Option<Found>,
    pub(super) node: Option<Found>,
    pub(super) tools: Vec<String>,
    pub(super) absent: Vec<String>,
    /// What the host itself could not load: `(library, host file that names it)`.
    pub(super) unresolved: BTreeSet<(String, PathBuf)>,
}

/// Plans the default image of this host.
pub(super) fn plan(options: &BuildOptions) -> Result<Content, ImageError> {
    let mut tree = Tree::default();
    skeleton(&mut tree);
    let python = interpreters::add_python(&mut tree, options)?;
    let node = interpreters::add_node(&mut tree, options)?;
    let (tools, absent) = add_tools(&mut tree, &options.path)?;
    if !tools.iter().any(|tool| tool == "bash") {
        return Err(ImageError::Interpreter { path: PathBuf::from("bash") });
    }
    data(&mut tree, python.as_ref().and_then(|python| python.certificates.as_deref()))?;
    etc(&mut tree);
    guest::add(&mut tree);
    let extra: Vec<PathBuf> =
        [&python, &node].into_iter().flatten().flat_map(|found| found.libraries.clone()).collect();
    let unresolved = libraries(&mut tree, &extra)?;
    Ok(Content { tree, python, node, tools, absent, unresolved })
}

/// Adds the directories and the device names that a sandbox mounts on.
fn skeleton(tree: &mut Tree) {
    for link in ["bin", "sbin", "lib", "lib64"] {
        tree.directory(&format!("usr/{link}"));
        tree.link(link, &format!("usr/{link}"));
    }
    let mounts =
        ["proc", "dev/shm", "tmp", "workspace", "home/sandbox", "run", "var", "etc", "opt", "usr/local/bin"];
    for directory in mounts {
        tree.directory(directory);
    }
    tree.link("var/tmp", "../tmp");
    tree.link("var/run", "../run");
    for device in ["null", "zero", "full", "random", "urandom"] {
        tree.file(&format!("dev/{device}"), &[][..]);
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        tree.link(&format!("dev/{name}"), &format!("/proc/self/fd{target}"));
    }
}

/// Adds every tool of the table; returns the names found and the names the host lacks.
fn add_tools(tree: &mut Tree, search: &OsStr) -> Result<(Vec<String>, Vec<String>), ImageError> {
    let system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    // The system's own come first: they find their data where it is copied from.
    let directories: Vec<PathBuf> =
        system.into_iter().chain(std::env::split_paths(search).filter(|path| path.is_absolute())).collect();
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for tool in tools::GROUPS.iter().flat_map(|group| group.tools).copied() {
        match directories.iter().find_map(|directory| add_tool(tree, &directory.join(tool), tool)) {
            Some(()) => present.push(tool.to_owned()),
            None => absent.push(tool.to_owned()),
        }
    }
    if present.iter().any(|tool| tool == "git") {
        git(tree)?;
    }
    Ok((present, absent))
}

fn add_tool(tree: &mut Tree, path: &Path, name: &str) -> Option<()> {
    let real = fs::canonicalize(path).ok().filter(|real| tool_is_public(real))?;
    let perl_without_modules =
        name == "perl" && library_directory().is_none_or(|at| !at.join("perl-base").is_dir());
    if perl_without_modules {
        return None;
    }
    let place = tree.copy(&real)?;
    tree.link_to(&format!("usr/bin/{name}"), &place);
    if path.starts_with("/usr/sbin") || path.starts_with("/sbin") {
        tree.link_to(&format!("usr/sbin/{name}"), &place);
    }
    Some(())
}

/// Says whether a program is one of the system's: not a shim in a user's home.
fn tool_is_public(real: &Path) -> bool {
    ["/usr", "/bin", "/sbin", "/opt", "/nix", "/gnu"].iter().any(|start| real.starts_with(start))
        && real.is_file()
}

/// Adds what git runs and the templates of new repositories, except its servers.
fn git(tree: &mut Tree) -> Result<(), ImageError> {
    let git = ["/usr/bin/git", "/usr/local/bin/git"].into_iter().find(|path| Path::new(path).is_file());
    let Some(git) = git else { return Ok(()) };
    let output = Command::new(git).arg("--exec-path").env_clear().stdin(Stdio::null()).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let home = Path::new(text.trim());
    let servers = [
        "git-daemon",
        "git-http-backend",
        "git-imap-send",
        "git-cvsserver",
        "git-shell",
        "git-sh-i18n--envsubst",
    ];
    if home.is_absolute() {
        tree.copy_all(home, &|below| !servers[..5].iter().any(|server| below.starts_with(server)))?;
        // Distributions ship the same program twice.
        let (inner, outer) = (tree.place(&home.join("git")), tree.place(Path::new(git)));
        let same = |a: &Path, b: &Path| matches!((fs::read(a), fs::read(b)), (Ok(a), Ok(b)) if a == b);
        if matches!(tree.nodes.get(&inner), Some(Node::File { .. }))
            && same(&home.join("git"), Path::new(git))
        {
            tree.nodes.remove(&inner);
            tree.link_to(&inner, &outer);
        }
    }
    tree.copy_all(Path::new("/usr/share/git-core/templates"), &|below| !below.starts_with("hooks"))
}

/// Adds plug-ins, certificates, time zones, terminals and other data.
fn data(tree: &mut Tree, certificates: Option<&Path>) -> Result<(), ImageError> {
    for directory in tools::DIRECTORIES {
        // The zones of `right` count leap seconds and those of `posix` are the plain ones again.
        tree.copy_all(Path::new(directory), &|below| {
            !["right", "posix", "localtime", "posixrules"].iter().any(|zone| below.starts_with(zone))
        })?;
    }
    if let Some(libraries) = library_directory() {
        for plugin in tools::PLUGINS {
            tree.copy_all(&libraries.join(plugin), &|_| true)?;
        }
    }
    for file in tools::FILES {
        tree.copy(Path::new(file));
    }
    for (directory, terminal) in
        tools::TERMINFO.iter().flat_map(|at| tools::TERMINALS.iter().map(move |name| (at, name)))
    {
        let first = terminal.chars().next().unwrap_or('?');
        // Some systems name the directory by the letter's code.
        for letter in [first.to_string(), format!("{:x}", u32::from(first))] {
            tree.copy(&Path::new(directory).join(letter).join(terminal));
        }
    }
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    let found = tools::CERTIFICATES.iter().find_map(|path| tree.copy_to(Path::new(path), bundle));
    if found.is_some() {
        let expected = ["/usr/lib/ssl/cert.pem", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt"];
        for path in expected.iter().map(Path::new).chain(certificates.filter(|path| path.is_absolute())) {
            let place = tree.place(path);
            tree.link_to(&place, bundle);
        }
        tree.link_to("usr/lib/ssl/certs", "etc/ssl/certs");
    }
    Ok(())
}

/// Adds the configuration: nothing of the host's but tables that are the same everywhere.
fn etc(tree: &mut Tree) {
    let files: [(&str, &'static str); 12] = [
        (
            "passwd",
            "root:x:0:0:root:/root:/usr/sbin/nologin\nsandbox:x:1000:1000:sandbox:/home/sandbox:/bin/bash\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        ),
        ("group", "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n"),
        ("hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
        ("hostname", "sandbox\n"),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files\nprotocols: files\nservices: files\n",
        ),
        ("host.conf", "multi on\n"),
        ("resolv.conf", ""),
        ("bash.bashrc", ""),
        ("inputrc", ""),
        ("shells", "/bin/sh\n/bin/bash\n"),
        ("timezone", "Etc/UTC\n"),
        ("ld.so.conf", ""),
    ];
    for (name, text) in files {
        tree.file(&format!("etc/{name}"), text.as_bytes());
    }
    tree.link("etc/localtime", "../usr/share/zoneinfo/Etc/UTC");
    tree.link("etc/mtab", "../proc/self/mounts");
    if tree.nodes.contains_key("usr/lib/os-release") {
        tree.link("etc/os-release", "../usr/lib/os-release");
    }
}

/// Returns the directory of the host that holds libc and its plug-ins.
fn library_directory() -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib"];
    places.into_iter().map(PathBuf::from).find(|place| place.join("libc.so.6").exists())
}

/// Adds every library that a file of the tree loads, and the loader's cache. Returns what the host lacks.
fn libraries(tree: &mut Tree, extra: &[PathBuf]) -> Result<BTreeSet<(String, PathBuf)>, ImageError> {
    let host = Loader::new(Path::new("/"), extra);
    let (mut seen, mut unresolved) = (BTreeSet::new(), BTreeSet::new());
    let mut queue: Vec<PathBuf> = tools::LOADED_BY_NAME
        .iter()
        .filter_map(|name| host.find(name, &Needs::default(), Path::new("/")))
        .collect();
    for library in &queue {
        tree.copy(library);
    }
    queue.extend(host_files(tree));
    while let Some(path) = queue.pop() {
        let path = fs::canonicalize(&path).unwrap_or(path);
        if !seen.insert(path.clone()) || path.extension().is_some_and(is_text) {
            continue;
        }
        let Some(needs) = loader::needs(&path)? else { continue };
        if let Some(interpreter) = &needs.interpreter {
            tree.copy(Path::new(interpreter));
        }
        for name in &needs.libraries {
            let Some(library) = host.find(name, &needs, &path) else {
                unresolved.insert((name.clone(), path.clone()));
                continue;
            };
            if !seen.contains(&fs::canonicalize(&library).unwrap_or_default()) {
                add_library(tree, &library);
                queue.push(library);
            }
        }
    }
    let cache = cache(tree)?;
    tree.file("etc/ld.so.cache", cache);
    Ok(unresolved)
}

/// Adds a library where the host has it; one from a private directory goes to the common one.
fn add_library(tree: &mut Tree, library: &Path) {
    let placed = fs::canonicalize(library).map(|real| tree.place(&real)).unwrap_or_default();
    let public = ["usr/", "opt/", "nix/", "gnu/"].iter().any(|start| placed.starts_with(start));
    match (public, library_directory(), library.file_name()) {
        (false, Some(common), Some(name)) => {
            let place = tree.place(&common.join(name));
            tree.copy_to(library, &place);
        }
        _ => {
            tree.copy(library);
        }
    }
}

pub(super) fn is_text(extension: &OsStr) -> bool {
    ["py", "js", "json", "md", "pl", "pm", "h", "txt", "mjs", "cjs"].iter().any(|text| extension == *text)
}

fn host_files(tree: &Tree) -> Vec<PathBuf> {
    tree.nodes
        .values()
        .filter_map(|node| match node {
            Node::File { source: Source::Host(path) | Source::Moved { path, .. }, .. } => Some(path.clone()),
            _ => None,
        })
        .collect()
}

/// Makes the loader's cache of the libraries in the directories that are searched for everyone.
fn cache(tree: &Tree) -> Result<Vec<u8>, ImageError> {
    let common = [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib64",
        "usr/lib",
        "usr/local/lib",
        "usr/local/lib/x86_64-linux-gnu",
    ];
    let mut found: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (place, node) in &tree.nodes {
        let (directory, name) = place.rsplit_once('/').unwrap_or(("", place));
        let Node::File { source: Source::Host(path) | Source::Moved { path, .. }, .. } = node else {
            continue;
        };
        // The interpreter's own library is found by whoever embeds it, after all others.
        let own = common.len() + 1;
        let rank = common.iter().position(|common| *common == directory);
        let rank = rank.or_else(|| name.starts_with("libpython").then_some(own));
        let (Some(rank), true) = (rank, name.contains(".so")) else { continue };
        let Some(soname) = loader::needs(path)?.and_then(|needs| needs.soname) else { continue };
        // The name a process looks for may be a link beside the file.
        let beside = format!("{directory}/{soname}");
        let target = if tree.nodes.contains_key(&beside) { &beside } else { place };
        let entry = (rank, format!("/{target}"));
        let known = found.entry(soname).or_insert_with(|| entry.clone());
        *known = entry.min(known.clone());
    }
    let pairs: Vec<_> = found.into_iter().map(|(name, (_, path))| (name, path)).collect();
    Ok(loader::write_cache(&pairs))
}

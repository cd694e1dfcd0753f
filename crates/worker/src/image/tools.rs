//! Lists the everyday tools an image gets, and what comes with them. Data only; a tool the host lacks is skipped and recorded.
//!
//! Absent on purpose: whatever mounts, changes users or passwords, or loads modules (`su`, `sudo`, `mount`, `unshare`,
//! `nsenter`, `pivot_root`, `setpriv`, `passwd`…), debuggers, compilers, editors of the host's devices.

/// Tools that belong together, by the package or purpose that names them.
pub(super) struct Group {
    #[expect(dead_code, reason = "names the group for the reader of this table")]
    pub(super) name: &'static str,
    pub(super) tools: &'static [&'static str],
}

/// Every tool of the default image.
#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    Group { name: "shells", tools: &["bash", "sh", "dash"] },
    Group { name: "coreutils", tools: &[
        "[", "arch", "b2sum", "base32", "base64", "basename", "basenc", "cat", "chgrp", "chmod", "chown", "cksum", "comm", "cp",
        "csplit", "cut", "date", "dd", "df", "dir", "dircolors", "dirname", "du", "echo", "env", "expand", "expr", "factor",
        "false", "fmt", "fold", "groups", "head", "hostid", "id", "install", "join", "link", "ln", "logname", "ls", "md5sum",
        "mkdir", "mkfifo", "mknod", "mktemp", "mv", "nice", "nl", "nohup", "nproc", "numfmt", "od", "paste", "pathchk", "pinky",
        "pr", "printenv", "printf", "ptx", "pwd", "readlink", "realpath", "rm", "rmdir", "runcon", "seq", "sha1sum", "sha224sum",
        "sha256sum", "sha384sum", "sha512sum", "shred", "shuf", "sleep", "sort", "split", "stat", "stdbuf", "stty", "sum",
        "sync", "tac", "tail", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "tsort", "tty", "uname", "unexpand",
        "uniq", "unlink", "users", "vdir", "wc", "who", "whoami", "yes",
    ] },
    Group { name: "text", tools: &[
        "grep", "egrep", "fgrep", "rgrep", "sed", "awk", "gawk", "mawk", "nawk", "diff", "diff3", "sdiff", "cmp", "patch", "ed",
        "less", "more", "pager", "jq", "bc", "dc", "envsubst", "gettext", "tree",
    ] },
    Group { name: "files", tools: &["find", "xargs", "file", "which", "rsync"] },
    Group { name: "archives", tools: &[
        "tar", "gzip", "gunzip", "zcat", "zgrep", "zdiff", "zless", "uncompress", "bzip2", "bunzip2", "bzcat", "bzgrep", "xz",
        "unxz", "xzcat", "xzgrep", "lzma", "unlzma", "zstd", "unzstd", "zstdcat", "zip", "unzip", "zipinfo", "funzip", "cpio",
    ] },
    Group { name: "processes", tools: &[
        "ps", "top", "free", "pgrep", "pkill", "pidwait", "pmap", "pwdx", "uptime", "vmstat", "w", "watch", "kill", "killall",
        "pstree", "fuser",
    ] },
    Group { name: "util-linux", tools: &[
        "cal", "col", "colcrt", "colrm", "column", "fallocate", "flock", "getopt", "hd", "hexdump", "ionice", "look", "lscpu",
        "mcookie", "namei", "prlimit", "rename.ul", "rev", "script", "setsid", "taskset", "ul", "uuidgen", "whereis", "xxd",
    ] },
    Group { name: "development", tools: &[
        "git", "git-receive-pack", "git-upload-pack", "git-upload-archive", "make", "sqlite3", "openssl", "perl", "curl", "wget",
        "strings",
    ] },
    Group { name: "libc", tools: &["getconf", "getent", "iconv", "ldconfig", "ldd", "locale"] },
    Group { name: "debianutils", tools: &["run-parts", "tempfile", "savelog"] },
    Group { name: "terminal", tools: &["clear", "infocmp", "reset", "tabs", "tput", "tset", "tic"] },
    Group { name: "host", tools: &["hostname", "dnsdomainname", "domainname"] },
];

/// Libraries that are loaded by name at run time, so that no file says it needs them: name resolution, thread
/// cancellation, and what compiled wheels expect of any Linux.
pub(super) const LOADED_BY_NAME: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libanl.so.1",
    "libcrypt.so.1",
    "libnss_files.so.2",
    "libnss_dns.so.2",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libz.so.1",
    "libgomp.so.1",
    "libatomic.so.1",
];

/// Directories copied whole where the host has them.
pub(super) const DIRECTORIES: &[&str] =
    &["/usr/share/zoneinfo", "/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"];

/// Directories of plug-ins, copied from below the directory that holds libc.
pub(super) const PLUGINS: &[&str] = &["gconv", "ossl-modules", "perl-base"];

/// Single files copied where the host has them.
pub(super) const FILES: &[&str] = &[
    // What `stdbuf` has programs load.
    "/usr/libexec/coreutils/libstdbuf.so",
    "/usr/lib/file/magic.mgc",
    "/usr/share/misc/magic.mgc",
    "/usr/share/misc/magic",
    "/etc/magic",
    "/etc/protocols",
    "/etc/services",
    "/etc/mime.types",
    "/usr/lib/os-release",
    "/usr/lib/ssl/openssl.cnf",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/usr/share/misc/bc.library",
];

/// Where distributions keep the bundle of certificate authorities; the first that exists is taken.
pub(super) const CERTIFICATES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Terminals whose description an image has.
pub(super) const TERMINALS: &[&str] = &[
    "ansi",
    "dumb",
    "linux",
    "rxvt",
    "screen",
    "screen-256color",
    "tmux",
    "tmux-256color",
    "vt100",
    "vt220",
    "xterm",
    "xterm-256color",
    "xterm-color",
];

/// Where ncurses looks for descriptions.
pub(super) const TERMINFO: &[&str] =
    &["/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo"];

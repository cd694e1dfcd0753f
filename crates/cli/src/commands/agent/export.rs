//! Files of a sandbox that are copied out: nothing of one's own is replaced, and what other programs obey is named.

use anyhow::Context;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::Path;

/// Names that are tried for one file.
const NAMES_MAX: u32 = 1_000;

/// Directories whose content tools of programmers obey, wherever they are, and what obeys it.
const DIRECTORIES: &[(&str, &str)] = &[
    (".git", "configuration or a hook of Git"),
    (".githooks", "a hook of Git"),
    (".husky", "a hook of Git"),
    (".claude", "configuration of Claude Code"),
    (".codex", "configuration of Codex"),
    (".gemini", "configuration of Gemini"),
    (".cursor", "configuration of Cursor"),
    (".continue", "configuration of Continue"),
    (".vscode", "configuration of an editor"),
    (".idea", "configuration of an editor"),
    (".devcontainer", "configuration of an editor"),
    (".github", "configuration of GitHub"),
    (".cargo", "configuration of Cargo"),
    (".ssh", "configuration of SSH"),
    (".direnv", "configuration of direnv"),
];
/// Files likewise.
const FILES: &[(&str, &str)] = &[
    (".mcp.json", "tools of an agent"),
    ("mcp.json", "tools of an agent"),
    ("CLAUDE.md", "instructions to an agent"),
    ("AGENTS.md", "instructions to an agent"),
    ("GEMINI.md", "instructions to an agent"),
    (".cursorrules", "instructions to an agent"),
    (".windsurfrules", "instructions to an agent"),
    (".gitconfig", "configuration of Git"),
    (".gitmodules", "configuration of Git"),
    (".gitattributes", "configuration of Git"),
    (".pre-commit-config.yaml", "a hook of Git"),
    (".bashrc", "run when a shell starts"),
    (".bash_profile", "run when a shell starts"),
    (".bash_login", "run when a shell starts"),
    (".bash_logout", "run when a shell ends"),
    (".profile", "run when a shell starts"),
    (".zshrc", "run when a shell starts"),
    (".zshenv", "run when a shell starts"),
    (".zprofile", "run when a shell starts"),
    (".zlogin", "run when a shell starts"),
    (".envrc", "run by direnv"),
    (".vimrc", "configuration of an editor"),
    (".exrc", "configuration of an editor"),
    (".editorconfig", "configuration of an editor"),
    (".npmrc", "configuration of npm"),
    (".netrc", "credentials of programs"),
    (".pypirc", "credentials of programs"),
    ("sitecustomize.py", "run when Python starts"),
    ("usercustomize.py", "run when Python starts"),
    ("conftest.py", "run by pytest"),
    ("Makefile", "run by make"),
    ("package.json", "its scripts are run by npm"),
];
/// Ends of names likewise.
const ENDS: &[(&str, &str)] = &[
    (".code-workspace", "configuration of an editor"),
    (".pth", "run when Python starts"),
    (".desktop", "opened by a desktop"),
];
/// How a program for a machine begins: ELF, Windows, Mach-O; and a script.
const PROGRAMS: &[&[u8]] = &[b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!"];

/// What obeys a file of this path that begins so, if something does that a person should know of. Cases count as little as file systems have it.
pub fn obeyed(path: &str, begins: &[u8]) -> Option<&'static str> {
    let is = |name: &str, other: &str| name.eq_ignore_ascii_case(other);
    let name = path.rsplit('/').next().unwrap_or_default();
    let directories = path.split('/').filter(|part| part.len() < path.len());
    let by_directory = directories
        .filter_map(|part| DIRECTORIES.iter().find(|(directory, _)| is(part, directory)))
        .map(|(_, what)| *what)
        .next();
    let by_name = FILES.iter().find(|(file, _)| is(name, file)).map(|(_, what)| *what);
    let lower = name.to_ascii_lowercase();
    let by_end = ENDS.iter().find(|(end, _)| lower.ends_with(end)).map(|(_, what)| *what);
    let by_content = PROGRAMS.iter().any(|program| begins.starts_with(program)).then_some("a program");
    by_directory.or(by_name).or(by_end).or(by_content)
}

/// A directory that files are copied to.
pub struct Export<'a> {
    directory: &'a Path,
    opened: File,
    /// What a person should know, in the order in which it came.
    remarks: Vec<String>,
}

impl<'a> Export<'a> {
    /// To this directory, which is made if need be.
    pub fn to(directory: &'a Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let opened = File::open(directory).with_context(|| format!("open {}", directory.display()))?;
        Ok(Self { directory, opened, remarks: Vec::new() })
    }

    /// Copies a file. One that is there stays as it is: the copy has a number at its end, and is left out if it is the same.
    pub fn copy(&mut self, path: &str, mut content: impl Read) -> anyhow::Result<()> {
        for number in 0..NAMES_MAX {
            let name = if number == 0 { path.to_owned() } else { format!("{path}.{number}") };
            match worker::artifacts::export_new(self.opened.as_fd(), Path::new(&name), &mut content) {
                Ok(()) => return self.remark(path, &name),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("copy {path}")),
            }
        }
        anyhow::bail!("copy {path}: {NAMES_MAX} files of that name are there already")
    }

    fn remark(&mut self, path: &str, name: &str) -> anyhow::Result<()> {
        let copied = self.directory.join(name);
        if name != path && same(&self.directory.join(path), &copied) {
            return std::fs::remove_file(&copied).with_context(|| format!("remove {}", copied.display()));
        }
        if name != path {
            self.remarks.push(format!("{path} was there already and stays; the sandbox's is {name}"));
        }
        let mut begins = Vec::new();
        File::open(&copied)
            .and_then(|file| file.take(4).read_to_end(&mut begins))
            .with_context(|| format!("read {}", copied.display()))?;
        if let Some(what) = obeyed(path, &begins) {
            self.remarks.push(format!("{name} is {what}: read it before you use this directory"));
        }
        Ok(())
    }

    /// What a person should know.
    pub fn remarks(self) -> Vec<String> {
        self.remarks
    }
}

/// Whether two files have the same content. What cannot be read is not.
fn same(one: &Path, other: &Path) -> bool {
    let regular = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|about| about.is_file());
    let read = || -> std::io::Result<bool> {
        let (mut one, mut other) = (File::open(one)?, File::open(other)?);
        if one.metadata()?.len() != other.metadata()?.len() {
            return Ok(false);
        }
        let (mut here, mut there) = ([0; 8192], [0; 8192]);
        loop {
            let bytes = one.read(&mut here)?;
            if bytes == 0 {
                return Ok(true);
            }
            other.read_exact(&mut there[..bytes])?;
            if here[..bytes] != there[..bytes] {
                return Ok(false);
            }
        }
    };
    regular(one) && regular(other) && read().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_obey_is_known_and_data_is_not() {
        for path in [
            ".git/hooks/pre-commit",
            "sub/.VSCODE/tasks.json",
            ".mcp.json",
            "a/.bashrc",
            "x.pth",
            "claude.md",
        ] {
            assert!(obeyed(path, b"").is_some(), "{path}");
        }
        assert_eq!(obeyed("a.out", b"\x7fELF"), Some("a program"));
        assert_eq!(obeyed("tool", b"#!/b"), Some("a program"));
        for path in ["git/data.csv", "result.json", ".gitignore", "plot-1.png", "main.py"] {
            assert_eq!(obeyed(path, b"data"), None, "{path}");
        }
    }

    #[test]
    fn what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap_or_default();
        std::fs::write(directory.path().join("a"), "mine").unwrap();
        std::fs::write(directory.path().join("same"), "same").unwrap();
        let mut export = Export::to(directory.path()).unwrap();
        for (path, content) in [("a", "theirs"), ("same", "same"), ("b/c", "new")] {
            export.copy(path, content.as_bytes()).unwrap();
        }
        assert_eq!(export.remarks(), ["a was there already and stays; the sandbox's is a.1"]);
        assert_eq!((read("a"), read("a.1"), read("b/c")), ("mine".into(), "theirs".into(), "new".into()));
        assert!(!directory.path().join("same.1").exists());
        let mut export = Export::to(directory.path()).unwrap();
        assert!(export.copy("../a", b"x".as_slice()).is_err());
    }
}

//! The desk between a session's keeper and its jobs: orders, programs and input files, written into the sandbox's own file system.
//!
//! Orders lie below `/tmp`, where the code can reach them: all that it can spoil is its own session.

use super::typing::Typing;
use super::{How, SessionJob};
use model::{Language, RunSpec};
use sandbox::plan::WORKSPACE;
use sandbox::stay::Staying;
use sandbox::workspace::Workspace;
use std::collections::VecDeque;
use std::ffi::CString;
use sys::{Error, Result};

/// Where orders lie, in the directory for temporary files.
const ORDERS: &str = ".fireclay";
/// That directory: in the scratch file system, and inside.
const TEMPORARY: &str = "tmp";

/// The desk of one session.
#[derive(Debug)]
pub(super) struct Desk {
    temporary: Workspace,
    workspace: Workspace,
    count: u32,
    /// What is to be removed, a piece at a time.
    trash: VecDeque<Trash>,
}

/// Something that is to be removed.
#[derive(Debug)]
struct Trash {
    /// Whether it is in the directory for temporary files; else in the workspace.
    temporary: bool,
    path: String,
    /// How often a piece of it may still be removed.
    patience: u32,
}

/// Most things that are removed in one step: the keeper does nothing else meanwhile.
const REMOVED_STEP: usize = 500;
/// After so many steps it is left: code is at work there that makes more of it, of its own disk.
const REMOVED_STEPS_MAX: u32 = 1_000;

/// A program that was put into the sandbox, and what is to be cleared away after it.
#[derive(Debug)]
pub(super) struct Program {
    /// Its file, inside.
    pub path: String,
    /// Where it works, inside.
    pub cwd: String,
    /// Its own directory in the scratch file system, if it works in one.
    pub private: Option<CString>,
    /// The file in the workspace that only it needs.
    file: Option<String>,
    /// Its order.
    order: Option<u32>,
}

impl Desk {
    pub fn of(stay: &Staying) -> Result<Self> {
        let open = |name| Workspace::open(stay.scratch(), name, Some(stay.ids()));
        Ok(Self {
            temporary: open(c"tmp")?,
            workspace: open(c"workspace")?,
            count: 0,
            trash: VecDeque::new(),
        })
    }

    /// Puts down an order for an interpreter; returns its number, and what goes to the run's standard input if that is no file.
    pub fn order(&mut self, session: &SessionJob) -> Result<(u32, Typing)> {
        let SessionJob { how, job, .. } = session;
        let How::State { name, moves, interactive } = how else {
            return Err(Error { call: "order", errno: libc::EINVAL });
        };
        let spec = &job.spec;
        self.put_files(&self.workspace, spec, "")?;
        let cwd = self.enter(&spec.cwd)?;
        let env = variables(spec);
        let mut files: Vec<(&str, &[u8])> = vec![("code", spec.code.as_bytes()), ("name", name.as_bytes())];
        if !*interactive {
            files.push(("stdin", &spec.stdin));
        }
        if *moves {
            files.push(("cwd", cwd.as_bytes()));
        }
        if spec.language == Language::TypeScript {
            // The interpreter for both cannot tell by the name, which is the caller's.
            files.push(("options", br#"{"typescript":true}"#));
        }
        if !spec.env.is_empty() {
            files.push(("env", env.as_slice()));
        }
        let number = self.next();
        let directory = format!("{ORDERS}/{number}");
        let written = self.temporary.write_directory(&directory, &files).and_then(|()| match interactive {
            true => self.temporary.make_pipe(&format!("{directory}/stdin")).map(Some),
            false => Ok(None),
        });
        let typing = written.inspect_err(|_| self.clear(number))?;
        Ok((number, typing.map_or_else(Typing::default, |ends| Typing::of_named(ends, &spec.stdin))))
    }

    /// The line that tells an interpreter of an order.
    pub fn line(order: u32) -> String {
        format!("run /{TEMPORARY}/{ORDERS}/{order}\n")
    }

    /// Puts down a program of its own with its files.
    pub fn program(&mut self, spec: &RunSpec, named: bool, private: bool) -> Result<Program> {
        let number = self.next();
        self.put_program((spec, number), named, private).inspect_err(|_| {
            if private {
                self.clear(number);
            }
        })
    }

    fn put_program(
        &mut self,
        (spec, number): (&RunSpec, u32),
        named: bool,
        private: bool,
    ) -> Result<Program> {
        if private {
            let own = format!("{ORDERS}/{number}/work");
            self.temporary.make_directory(&own)?;
            self.put_files(&self.temporary, spec, &format!("{own}/"))?;
            self.temporary.write(&format!("{own}/{}", spec.file_name), spec.code.as_bytes(), false)?;
            let cwd = format!("/{TEMPORARY}/{own}");
            let private = CString::new(format!("{TEMPORARY}/{own}")).ok();
            let path = format!("{cwd}/{}", spec.file_name);
            return Ok(Program { path, cwd, private, file: None, order: Some(number) });
        }
        self.put_files(&self.workspace, spec, "")?;
        let cwd = self.enter(&spec.cwd)?;
        // Beside each other: none may be another's file, unless the caller said so.
        let file = if named { spec.file_name.clone() } else { format!(".run{number}-{}", spec.file_name) };
        self.workspace.write(&file, spec.code.as_bytes(), false)?;
        let path = format!("{WORKSPACE}/{file}");
        Ok(Program { path, cwd, private: None, file: (!named).then_some(file), order: None })
    }

    /// Clears away an order.
    pub fn clear(&mut self, order: u32) {
        self.discard(true, format!("{ORDERS}/{order}"));
    }

    /// Clears away what only this program needed.
    pub fn clear_program(&mut self, program: &Program) {
        if let Some(order) = program.order {
            self.clear(order);
        }
        if let Some(file) = &program.file {
            self.discard(false, file.clone());
        }
    }

    /// Removes something: at once if it is small, as it usually is.
    fn discard(&mut self, temporary: bool, path: String) {
        self.trash.push_back(Trash { temporary, path, patience: REMOVED_STEPS_MAX });
        if self.trash.len() == 1 {
            self.tidy();
        }
    }

    /// Whether something is still to be removed.
    pub fn is_untidy(&self) -> bool {
        !self.trash.is_empty()
    }

    /// Removes a piece of what is to be removed.
    pub fn tidy(&mut self) {
        let Some(mut trash) = self.trash.pop_front() else { return };
        let place = if trash.temporary { &self.temporary } else { &self.workspace };
        match place.remove_some(&trash.path, REMOVED_STEP) {
            Ok(false) if trash.patience > 0 => {
                trash.patience -= 1;
                self.trash.push_front(trash);
            }
            Ok(_) => {}
            Err(error) => spoilt(&error),
        }
    }

    fn next(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        self.count
    }

    fn put_files(&self, workspace: &Workspace, spec: &RunSpec, below: &str) -> Result<()> {
        spec.files.iter().try_for_each(|file| {
            workspace.write(&format!("{below}{}", file.path), file.content.as_bytes(), file.executable)
        })
    }

    /// Where a run or a process works, inside; made if it is not there.
    pub fn enter(&self, cwd: &str) -> Result<String> {
        if cwd.is_empty() {
            return Ok(WORKSPACE.to_owned());
        }
        self.workspace.make_directory(cwd)?;
        Ok(format!("{WORKSPACE}/{cwd}"))
    }
}

/// What the code itself removed or spoilt is its own affair.
fn spoilt(error: &Error) {
    let theirs = [libc::ENOENT, libc::ENOTDIR, libc::EACCES, libc::ELOOP, libc::ENOTEMPTY];
    if !theirs.contains(&error.errno) {
        crate::log::warn(format_args!("clear an order away: {error}"));
    }
}

/// `NAME=VALUE`, each ended by NUL.
fn variables(spec: &RunSpec) -> Vec<u8> {
    spec.env.iter().flat_map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Policy, RunRequest};

    #[test]
    fn variables_are_told_whatever_is_in_them() {
        let env = [("A", "it's $HOME\n`x`"), ("_e", "")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let request = RunRequest { language: Some(Language::Bash), env, ..RunRequest::default() };
        let spec = RunSpec::admit(request, &Policy::DEFAULT).unwrap();
        assert_eq!(variables(&spec), b"A=it's $HOME\n`x`\0_e=\0");
    }
}

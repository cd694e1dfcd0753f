//! Groups in which processes stand still: they take no processor time, and go on where they were when they are let go.
//!
//! They are in the hierarchy of version 2, which machines with version 1 usually have beside it, without controllers. A process that
//! stands still there can be killed (cgroup-v2.rst, `cgroup.freeze`). In the freezer of version 1 it cannot until it is let go, so that
//! one whose keeper died would stay for ever: that one is not used.

use super::detect;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the name of each such group begins with. The rest says nothing: the code inside can read it.
const PREFIX: &str = "fireclay-idle-";
/// How often what was born meanwhile is looked for.
const ROUNDS: usize = 8;

/// A group in which processes can be made to stand still. They stay in the groups of other hierarchies that they are in.
#[derive(Debug)]
pub struct Ice {
    directory: PathBuf,
    frozen: bool,
}

impl Ice {
    /// Where such groups can be made: in the caller's own of version 2. `None` if there is none, or it is not the caller's to change.
    pub fn place() -> Option<PathBuf> {
        let mounts = sys::fs::read_kernel_file(c"/proc/self/mountinfo").ok()?;
        let own = sys::fs::read_kernel_file(c"/proc/self/cgroup").ok()?;
        detect::of_version_2(&mounts, &own).ok()
    }

    /// Makes an empty one.
    pub fn make(place: &Path) -> io::Result<Self> {
        let random = sys::fs::random().map_err(|error| io::Error::from_raw_os_error(error.errno))?;
        let directory = place.join(format!("{PREFIX}{:032x}", u128::from_ne_bytes(random)));
        fs::create_dir(&directory)?;
        Ok(Self { directory, frozen: false })
    }

    /// Takes in all that `members` names and has it stand still; false if more is born all the time. Who is born in it stays in it.
    pub fn freeze(&mut self, members: impl Fn() -> io::Result<Vec<i32>>) -> io::Result<bool> {
        for _ in 0..ROUNDS {
            let inside = self.members()?;
            let wanted = members()?;
            // A number that became another's before it was written. (Who is dead is in neither.)
            for stranger in inside.iter().filter(|pid| !wanted.contains(pid)) {
                let parent = self.directory.parent().ok_or(io::ErrorKind::NotFound)?;
                take(parent, *stranger)?;
            }
            let outside: Vec<i32> = wanted.into_iter().filter(|pid| !inside.contains(pid)).collect();
            if outside.is_empty() {
                fs::write(self.directory.join("cgroup.freeze"), "1")?;
                self.frozen = true;
                return Ok(true);
            }
            outside.into_iter().try_for_each(|pid| take(&self.directory, pid))?;
        }
        Ok(false)
    }

    /// Lets all go on.
    pub fn thaw(&mut self) -> io::Result<()> {
        if self.frozen {
            fs::write(self.directory.join("cgroup.freeze"), "0")?;
            self.frozen = false;
        }
        Ok(())
    }

    /// Removes it. Fails while a living process is in it.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_dir(&self.directory) {
            // Another service's sweep found it before anything was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn members(&self) -> io::Result<Vec<i32>> {
        let text = fs::read_to_string(self.directory.join("cgroup.procs"))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Removes those that are empty: a keeper that was killed leaves its own. Returns how many.
    pub fn sweep() -> usize {
        let Some(entries) = Self::place().and_then(|place| fs::read_dir(place).ok()) else { return 0 };
        let ours = entries
            .flatten()
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
        ours.filter(|entry| fs::remove_dir(entry.path()).is_ok()).count()
    }
}

/// Has a process join a group. One that is gone is nobody's loss.
fn take(group: &Path, pid: i32) -> io::Result<()> {
    match fs::write(group.join("cgroup.procs"), pid.to_string()) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    /// Waits until the kernel says so of a group.
    fn wait_until(ice: &Ice, frozen: bool) {
        let wanted = format!("frozen {}", u8::from(frozen));
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !fs::read_to_string(ice.directory.join("cgroup.events")).unwrap().contains(&wanted) {
            assert!(std::time::Instant::now() < until, "it is never {wanted}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_stands_still_goes_on_and_can_be_killed() {
        let place = Ice::place().expect("these tests need a hierarchy of version 2 that is theirs to change");
        let mut echo = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(echo.id()).unwrap();
        let mut ice = Ice::make(&place).unwrap();
        let mut line = String::new();
        for _ in 0..2 {
            assert!(ice.freeze(|| Ok(vec![pid])).unwrap());
            wait_until(&ice, true);
            echo.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
            assert_eq!(rustix::io::ioctl_fionread(echo.stdout.as_ref().unwrap()).unwrap(), 0);
            ice.thaw().unwrap();
            BufReader::new(echo.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        }
        assert_eq!(line, "x\nx\n");
        assert!(ice.freeze(|| Ok(vec![pid])).unwrap());
        wait_until(&ice, true);
        // One that is not named any more is let go: its number is another's.
        assert!(ice.freeze(|| Ok(Vec::new())).unwrap());
        assert_eq!(ice.members().unwrap(), [0; 0]);
        assert!(ice.freeze(|| Ok(vec![pid])).unwrap());
        echo.kill().unwrap();
        echo.wait().unwrap();
        ice.remove().unwrap();
    }
}

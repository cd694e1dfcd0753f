//! What init is told to do: to write the inputs, then to run the command. In one memory file, so that it can be sent before the
//! sandbox is built, and neither side waits for the other.
//!
//! ```text
//! length of the head: u64 | head | contents of the inputs, one behind the other
//! head: length of the command: u64 | command | for each input: kind: u8 | length of its content: u64 | path, NUL
//! ```

use crate::command::Command;
use crate::inputs::{self, Input, Kind};
use rustix::fs::OFlags;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::{Error, Result};

/// The errand as init reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Errand {
    /// What to run.
    pub command: Command,
    /// Path, kind and length of each input.
    inputs: Vec<(CString, Kind, u64)>,
    /// Where the first content begins.
    contents: u64,
}

/// Bytes of a length.
const LENGTH: usize = size_of::<u64>();

/// Writes an errand to a new memory file.
pub fn write(command: &Command, inputs: &[Input<'_>]) -> Result<OwnedFd> {
    let file = sys::fs::memory_file(c"errand")?;
    let mut head = vec![0; LENGTH];
    let command = command.encode();
    head.extend((command.len() as u64).to_le_bytes());
    head.extend(command);
    for Input { path, kind, content } in inputs {
        head.push(match kind {
            Kind::File => 0,
            Kind::Program => 1,
            Kind::Directory => 2,
        });
        head.extend((content.len() as u64).to_le_bytes());
        head.extend(path.as_bytes());
        head.push(0);
    }
    let length = (head.len() - LENGTH) as u64;
    head[..LENGTH].copy_from_slice(&length.to_le_bytes());
    for mut rest in std::iter::once(head.as_slice()).chain(inputs.iter().map(|input| input.content)) {
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).map_err(Error::of("write"))?;
            rest = &rest[written..];
        }
    }
    Ok(file)
}

impl Errand {
    /// Reads what [`write`] wrote, but for the contents.
    pub fn read(file: BorrowedFd<'_>) -> Result<Self> {
        let broken = Error { call: "decode errand", errno: libc::EBADMSG };
        let at = |offset: u64, bytes: &mut [u8]| -> Result<()> {
            // The supervisor wrote through the same open file, whose offset is at the end.
            let read = rustix::io::pread(file, &mut *bytes, offset).map_err(Error::of("pread"))?;
            if read == bytes.len() { Ok(()) } else { Err(broken) }
        };
        let mut length = [0; LENGTH];
        at(0, &mut length)?;
        let length = u64::from_le_bytes(length);
        let size = rustix::fs::fstat(file).map_err(Error::of("fstat"))?.st_size;
        if length > size.unsigned_abs() {
            return Err(broken);
        }
        let mut head = vec![0; length as usize];
        at(LENGTH as u64, &mut head)?;
        Self::decode(&head, LENGTH as u64 + length).ok_or(broken)
    }

    fn decode(mut head: &[u8], contents: u64) -> Option<Self> {
        let length = u64::from_le_bytes(*head.split_off(..LENGTH)?.as_array()?);
        let command = Command::decode(head.split_off(..usize::try_from(length).ok()?)?)?;
        let mut inputs = Vec::new();
        while let Some(kind) = head.split_off_first() {
            let kind = match kind {
                0 => Kind::File,
                1 => Kind::Program,
                2 => Kind::Directory,
                _ => return None,
            };
            let bytes = u64::from_le_bytes(*head.split_off(..LENGTH)?.as_array()?);
            let path = CStr::from_bytes_until_nul(head).ok()?;
            head.split_off(..path.to_bytes_with_nul().len())?;
            inputs.push((path.to_owned(), kind, bytes));
        }
        (!command.args.is_empty()).then_some(Self { command, inputs, contents })
    }

    /// Writes the inputs below `scratch`; on refusal, which one it was. `file` is what the errand was read from.
    pub fn write_inputs(
        &self,
        file: BorrowedFd<'_>,
        scratch: BorrowedFd<'_>,
    ) -> std::result::Result<(), (u32, Error)> {
        let workspace = sys::fs::open_beneath(scratch, WORKSPACE, OFlags::PATH | OFlags::DIRECTORY, 0)
            .map_err(|error| (u32::MAX, error))?;
        let mut offset = self.contents;
        for (index, (path, kind, bytes)) in (0..).zip(&self.inputs) {
            inputs::put(workspace.as_fd(), path, *kind, (file, offset, *bytes))
                .map_err(|error| (index, error))?;
            offset += bytes;
        }
        Ok(())
    }
}

/// Directory of the workspace in the scratch file system.
pub const WORKSPACE: &CStr = c"workspace";

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let words = |list: &[&str]| list.iter().map(|word| CString::new(*word).unwrap()).collect::<Vec<_>>();
        Command { args: words(&["/bin/a", "x y"]), env: words(&["A=b"]), cwd: c"/workspace".into() }
    }

    #[test]
    fn an_errand_survives_the_way_and_its_inputs_are_written() {
        let inputs = [
            Input { path: "main.sh", kind: Kind::File, content: b"echo" },
            Input { path: "a/b/run", kind: Kind::Program, content: &[7; 200_000] },
            Input { path: "a/c", kind: Kind::Directory, content: b"" },
            Input { path: "a/empty", kind: Kind::File, content: b"" },
        ];
        let file = write(&command(), &inputs).unwrap();
        let errand = Errand::read(file.as_fd()).unwrap();
        assert_eq!(errand.command, command());
        let scratch = tempfile::tempdir().unwrap();
        let workspace = scratch.path().join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        let open = std::fs::File::open(scratch.path()).unwrap();
        errand.write_inputs(file.as_fd(), open.as_fd()).unwrap();
        for input in inputs.iter().filter(|input| input.kind != Kind::Directory) {
            assert_eq!(std::fs::read(workspace.join(input.path)).unwrap(), input.content, "{}", input.path);
        }
        assert!(workspace.join("a/c").is_dir());
        // A second time each is in its own way.
        let refused = errand.write_inputs(file.as_fd(), open.as_fd()).unwrap_err();
        assert_eq!((refused.0, refused.1.errno), (0, libc::EEXIST));
    }

    #[test]
    fn cut_bytes_are_no_errand() {
        let file = write(&command(), &[Input { path: "a", kind: Kind::File, content: b"" }]).unwrap();
        let mut bytes = vec![0; rustix::fs::fstat(&file).unwrap().st_size as usize];
        rustix::io::pread(&file, &mut bytes[..], 0).unwrap();
        let head = &bytes[LENGTH..];
        assert!(Errand::decode(head, 0).is_some());
        // Without its inputs it is whole as well: they are counted by the head's length.
        let command = LENGTH + command().encode().len();
        assert!(
            (0..head.len())
                .filter(|cut| *cut != command)
                .all(|cut| Errand::decode(&head[..cut], 0).is_none())
        );
    }
}

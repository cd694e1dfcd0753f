//! What goes to a run's standard input: it waits here until the program has read what came before.

use rustix::event::{PollFd, PollFlags};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Standard input of one run. By default there is none, or one that is a file.
#[derive(Debug, Default)]
pub(super) struct Typing {
    /// A pipe with a name, open for both directions: who opens it to read waits for nobody, and nothing in it is lost before that.
    held: Option<OwnedFd>,
    /// Where to write.
    pipe: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    /// Whether nothing comes after what waits.
    ended: bool,
}

impl Typing {
    /// Into a pipe whose other end is the program's. What comes with the run is first; unless more may come, that is all.
    pub fn new(pipe: Option<OwnedFd>, first: &[u8], more: bool) -> Self {
        Self { held: None, pipe, waiting: first.iter().copied().collect(), ended: !more }
    }

    /// Into a pipe with a name that the program will open: its two ends, for both directions and for writing.
    pub fn of_named([held, pipe]: [OwnedFd; 2], first: &[u8]) -> Self {
        Self { held: Some(held), ..Self::new(Some(pipe), first, true) }
    }

    /// Takes bytes that were typed; returns how many of them nobody will read, since that is over.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        if self.ended || self.pipe.is_none() {
            return bytes.len();
        }
        self.waiting.extend(bytes);
        0
    }

    /// Nothing more will be typed.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Where to write, while there is something to be written.
    pub fn thirsty(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    /// Writes as far as there is room; returns how many bytes are not waited with any more.
    pub fn feed(&mut self) -> usize {
        let before = self.waiting.len();
        while let Some(pipe) = self.pipe.as_ref().filter(|_| !self.waiting.is_empty()) {
            match rustix::io::write(pipe, self.waiting.as_slices().0) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => break,
                // The program has closed its side.
                Err(_) => {
                    self.waiting.clear();
                    self.pipe = None;
                }
            }
        }
        self.close();
        before - self.waiting.len()
    }

    /// Closes our side at the end: of a pipe with a name when somebody has opened it, who else would wait for ever. To be called now and
    /// then.
    pub fn close(&mut self) {
        if !self.ended || !self.waiting.is_empty() {
            return;
        }
        let was_named = self.held.take().is_some();
        if !was_named && self.pipe.as_ref().is_some_and(has_reader) {
            self.pipe = None;
        }
    }
}

/// Whether anybody has the other side of this pipe open (poll(2): without one, POLLERR).
fn has_reader(pipe: &OwnedFd) -> bool {
    let mut polls = [PollFd::new(pipe, PollFlags::OUT)];
    let at_once = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut polls, Some(&at_once)) {
        Ok(_) => !polls[0].revents().contains(PollFlags::ERR),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn a_named_pipe_is_read_whole_by_who_comes_after_its_end() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("w")).unwrap();
        let open = File::open(directory.path()).unwrap();
        let workspace = sandbox::workspace::Workspace::open(open.as_fd(), c"w", None).unwrap();
        let mut typing = Typing::of_named(workspace.make_pipe("stdin").unwrap(), b"one ");
        assert_eq!(typing.feed(), 4);
        assert_eq!(typing.take(b"two"), 0);
        assert_eq!(typing.feed(), 3);
        typing.end();
        assert_eq!(typing.take(b"late"), 4);
        (0..3).for_each(|_| typing.close());
        assert!(typing.pipe.is_some(), "nobody has opened it");
        let mut reader = File::open(directory.path().join("w/stdin")).unwrap();
        typing.close();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        // What lies there already is not taken for ours.
        assert_eq!(workspace.make_pipe("stdin").unwrap_err().errno, libc::EEXIST);
    }

    #[test]
    fn what_a_program_will_not_read_is_let_go() {
        let (reader, pipe) = sys::fs::pipe_to_write().unwrap();
        let mut typing = Typing::new(Some(pipe), b"first", true);
        assert_eq!((typing.feed(), typing.take(b"second")), (5, 0));
        drop(reader);
        assert_eq!((typing.feed(), typing.take(b"third")), (6, 5));
        assert!(typing.thirsty().is_none());
    }
}

//! What a kernel call answers when it refuses.

/// A kernel call that failed: which, and with what errno (`errno(3)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// The call, as its man page is named.
    pub call: &'static str,
    /// The kernel's answer.
    pub errno: i32,
}

/// The result of a kernel call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error that the calling thread's last libc call left behind.
    pub fn last(call: &'static str) -> Self {
        Self { call, errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) }
    }

    /// Turns rustix's errno into ours; for `map_err`.
    pub fn of(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self { call, errno: errno.raw_os_error() }
    }

    /// Turns the standard library's error into ours; for `map_err`.
    pub fn of_io(call: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self { call, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.call, std::io::Error::from_raw_os_error(self.errno))
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::new(Self::from_raw_os_error(error.errno).kind(), error)
    }
}

/// Checks the answer of a raw call: -1 is an error, all else is the value.
pub(crate) fn check(call: &'static str, answer: libc::c_long) -> Result<libc::c_long> {
    if answer == -1 { Err(Error::last(call)) } else { Ok(answer) }
}

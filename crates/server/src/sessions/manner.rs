//! What is said of a run of a session besides what any run says.

/// How a run of a session is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// As a program of its own, without the session's state.
    pub fresh: bool,
    /// In an empty directory of its own.
    pub private: bool,
    /// With a standard input that goes on after what comes with it.
    pub interactive: bool,
}

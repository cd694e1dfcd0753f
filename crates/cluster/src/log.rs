//! What this crate says to the operator: by the words of whoever listens, else as text on standard error.

use std::fmt::{Arguments, Display};
use std::sync::OnceLock;

static LISTENER: OnceLock<fn(Arguments<'_>)> = OnceLock::new();

/// Has somebody else say what went wrong: the service, in the form of its log.
pub fn heard_by(listener: fn(Arguments<'_>)) {
    // There is one service in a process: who says it again says the same.
    LISTENER.get_or_init(|| listener);
}

/// Says that something went wrong, or is to be known.
pub(crate) fn warn(message: impl Display) {
    match LISTENER.get() {
        Some(listener) => listener(format_args!("{message}")),
        None => eprintln!("fireclay: {message}"),
    }
}

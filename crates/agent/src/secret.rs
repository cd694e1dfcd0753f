//! Keys: never shown, never logged, taken out of any text that might hold one.

use crate::credentials;
use std::fmt;

/// A key. Its `Debug` does not have it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a key.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The key itself, for the one header that it is sent in.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What stands where a key was.
const HIDDEN: &str = "[redacted]";
/// Shorter values are words that may stand in any text.
const SECRET_BYTES_MIN: usize = 8;

/// Takes known keys out of texts.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    secrets: Vec<Secret>,
}

impl Redactor {
    /// Knows these keys; those of less than eight bytes are not looked for.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<Secret> =
            secrets.into_iter().filter(|secret| secret.0.len() >= SECRET_BYTES_MIN).collect();
        // One key may be the beginning of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        Self { secrets }
    }

    /// Knows these keys too.
    #[must_use]
    pub fn with(self, more: impl IntoIterator<Item = Secret>) -> Self {
        Self::new(self.secrets.into_iter().chain(more))
    }

    /// A text that a program or another server wrote, as a model may read it: without the keys, and without what has the form of a
    /// credential, whosever it is.
    pub fn redact_output(&self, text: &str) -> String {
        let text = self.redact(text);
        let found = credentials::found(&text);
        let Some(last) = found.last() else { return text };
        let ends = std::iter::once(0).chain(found.iter().map(|range| range.end));
        let mut out: String =
            found.iter().zip(ends).map(|(range, from)| [&text[from..range.start], HIDDEN].concat()).collect();
        out.push_str(&text[last.end..]);
        out
    }

    /// The text without any of the keys.
    pub fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(&secret.0) { text.replace(&secret.0, HIDDEN) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let redactor = Redactor::new(["sk-12345678", "sk-12345678-more", "short"].map(Secret::new));
        assert_eq!(format!("{redactor:?}").matches("1234").count(), 0);
        assert_eq!(
            redactor.redact("a sk-12345678-more b sk-12345678 short"),
            "a [redacted] b [redacted] short"
        );
        let printed = "a AKIAIOSFODNN7EXAMPLE b sk-12345678 c";
        assert_eq!(redactor.redact_output(printed), "a [redacted] b [redacted] c");
        assert_eq!(redactor.redact(printed), "a AKIAIOSFODNN7EXAMPLE b [redacted] c");
        let redactor = redactor.with([Secret::new("another-one")]);
        assert_eq!(redactor.redact("sk-12345678 another-one"), "[redacted] [redacted]");
    }
}

//! Keys: never shown, never logged, taken out of any text that might hold one.

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
        let redactor = redactor.with([Secret::new("another-one")]);
        assert_eq!(redactor.redact("sk-12345678 another-one"), "[redacted] [redacted]");
    }
}

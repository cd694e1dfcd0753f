//! The mark of a result: by it a model tells our labels from lines of a program that look like them.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Ten hexadecimal digits, made by chance for one result when its program has ended: nothing in the program can have known them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// Another than all before. The keys of [`RandomState`] are the system's random numbers.
    pub fn new() -> Self {
        let drawn = RandomState::new().build_hasher().finish();
        Self(format!("{:010x}", drawn >> 24))
    }

    /// A label with this mark.
    pub fn label(&self, words: &str) -> String {
        format!("[{words} #{}]", self.0)
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let marks: std::collections::HashSet<String> =
            (0..100).map(|_| Mark::new().label("stdout")).collect();
        assert_eq!(marks.len(), 100);
        assert!(marks.iter().all(|label| label.len() == "[stdout #0123456789]".len()), "{marks:?}");
    }
}

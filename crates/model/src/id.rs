//! Identifiers: a prefix that says what they name, and 128 random bits. Never guessed, never reused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Crockford's alphabet, lower case: no letter that reads like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Names one run: `run_` and 26 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Makes an id of 16 bytes that the caller took from the kernel's random source.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("run_{}", base32(bytes)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes 128 bits as 26 characters, five bits each, the first character holding the top three.
fn base32(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    (0..26).rev().map(|place| char::from(ALPHABET[(number >> (place * 5)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_prefix_and_26_characters() {
        assert_eq!(RunId::from_random([0; 16]).as_str(), "run_00000000000000000000000000");
        assert_eq!(RunId::from_random([255; 16]).as_str(), "run_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }
}

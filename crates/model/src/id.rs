//! Identifiers: a prefix that says what they name, and 128 random bits. Never guessed, never reused.

use crate::Rejection;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Crockford's alphabet, lower case: no letter that reads like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters after the prefix: 128 bits, five in each.
const RANDOM_CHARS: usize = 26;
/// Longest name of a tenant.
const TENANT_CHARS_MAX: usize = 64;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $pattern:literal, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "schema", schema(pattern = $pattern))]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Makes an id of 16 bytes that the caller took from the kernel's random source.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(format!("{}{}", $prefix, base32(bytes)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Rejection;

            /// Accepts exactly what [`Self::from_random`] makes.
            fn from_str(text: &str) -> Result<Self, Rejection> {
                if is_random_id(text, $prefix) {
                    return Ok(Self(text.to_owned()));
                }
                let hint = concat!("use ", $prefix, " and 26 characters, as the service gave it");
                Err(Rejection::new($field, "not an id", hint))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Rejection;

            fn try_from(text: String) -> Result<Self, Rejection> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

random_id!(
    /// Names one run: `run_` and 26 characters.
    RunId, "run_", "^run_[0-7][0-9a-hjkmnp-tv-z]{25}$", "id"
);
random_id!(
    /// Names one batch of runs: `bat_` and 26 characters.
    BatchId, "bat_", "^bat_[0-7][0-9a-hjkmnp-tv-z]{25}$", "batch"
);

random_id!(
    /// Names one session: `ses_` and 26 characters.
    SessionId, "ses_", "^ses_[0-7][0-9a-hjkmnp-tv-z]{25}$", "session"
);

random_id!(
    /// Names one task: `tsk_` and 26 characters.
    TaskId, "tsk_", "^tsk_[0-7][0-9a-hjkmnp-tv-z]{25}$", "task"
);

/// Names a tenant: 1 to 64 of `a-z 0-9 - _`, chosen by the operator, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(pattern = "^[a-z0-9][a-z0-9_-]{0,63}$"))]
#[serde(try_from = "String")]
pub struct TenantId(String);

impl TenantId {
    /// Who owns what is run on this machine without a service.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let starts = text.starts_with(plain);
        if starts && text.len() <= TENANT_CHARS_MAX && text.chars().all(|c| plain(c) || c == '-' || c == '_')
        {
            return Ok(Self(text.to_owned()));
        }
        let hint = "use 1 to 64 of a-z 0-9 - _, beginning with a letter or digit";
        Err(Rejection::new("tenant", "not a tenant's name", hint))
    }
}

impl TryFrom<String> for TenantId {
    type Error = Rejection;

    fn try_from(text: String) -> Result<Self, Rejection> {
        text.parse()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes 128 bits as 26 characters, five bits each, the first character holding the top three.
fn base32(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    (0..RANDOM_CHARS).rev().map(|place| char::from(ALPHABET[(number >> (place * 5)) as usize & 31])).collect()
}

/// Whether `text` is the prefix and 26 characters of the alphabet, the first below 8: no two spellings of one number.
fn is_random_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|random| {
        random.len() == RANDOM_CHARS
            && random.starts_with(|c: char| ('0'..='7').contains(&c))
            && random.bytes().all(|byte| ALPHABET.contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_prefix_and_26_characters() {
        assert_eq!(RunId::from_random([0; 16]).as_str(), "run_00000000000000000000000000");
        assert_eq!(RunId::from_random([255; 16]).as_str(), "run_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn only_what_was_made_is_parsed() {
        for id in [RunId::from_random([0; 16]), RunId::from_random([255; 16]), RunId::from_random([0x5a; 16])]
        {
            assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
        }
        let long = format!("run_{}", "0".repeat(27));
        let high = format!("run_8{}", "0".repeat(25));
        let upper = format!("run_{}", "A".repeat(26));
        for text in
            ["", "run_", "run_1", "bat_00000000000000000000000000", &long, &high, &upper, "run_../../x"]
        {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<RunId>("\"run_'; DROP TABLE runs\"").is_err());
    }

    #[test]
    fn tenants_are_plain_words() {
        for text in ["local", "a", "7", "team-2_b", &"a".repeat(64)] {
            assert_eq!(text.parse::<TenantId>().unwrap().as_str(), text);
        }
        for text in ["", "-a", "A", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(text.parse::<TenantId>().is_err(), "{text}");
        }
        assert_eq!(TenantId::local().as_str().parse::<TenantId>().unwrap(), TenantId::local());
    }
}

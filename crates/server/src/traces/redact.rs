//! Takes secrets out of texts that are recorded, shown or sent on: values that the service knows, and whatever is spelled like one of its keys.

/// What stands in a secret's place.
const REDACTED: &str = "[secret]";
/// How keys of ours begin, those of tenants and those of local servers.
const KEYS_BEGIN: [&str; 2] = ["fc_", "local_"];
/// Characters after that which make it a key, rather than a name.
const KEY_CHARS_MIN: usize = 24;
/// Shorter values are found everywhere.
const SECRET_BYTES_MIN: usize = 6;

/// Knows secrets.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish()
    }
}

impl Redactor {
    /// One that knows these values, those apart that are too short to be told from other text.
    pub fn new(mut secrets: Vec<String>) -> Self {
        secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
        // The longest first: one may contain another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// The text without them.
    pub fn redact(&self, text: &str) -> String {
        let mut text = KEYS_BEGIN.iter().fold(text.to_owned(), |text, begins| without_keys(&text, begins));
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        text
    }
}

/// The text without what is spelled like a key that begins so.
fn without_keys(text: &str, begins: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(begins) {
        let (before, key) = rest.split_at(at);
        clean.push_str(before);
        let is_of_key = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-';
        let length = key.bytes().take_while(is_of_key).count();
        let is_key = length >= begins.len() + KEY_CHARS_MIN;
        clean.push_str(if is_key { REDACTED } else { &key[..length] });
        rest = &key[length..];
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_our_own_keys_are_taken_out() {
        let redactor = Redactor::new(vec!["hunter22".into(), "hunter22-and-more".into(), "abc".into()]);
        let key = format!("fc_{}", "a1B2".repeat(10));
        for (text, clean) in [
            (format!("KEY={key};"), "KEY=[secret];".to_owned()),
            ("hunter22 hunter22-and-more".to_owned(), "[secret] [secret]".to_owned()),
            ("abc fc_name fc_".to_owned(), "abc fc_name fc_".to_owned()),
            (format!("é{key}é"), "é[secret]é".to_owned()),
        ] {
            assert_eq!(redactor.redact(&text), clean);
        }
    }
}

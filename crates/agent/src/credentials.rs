//! Credentials that tell themselves by their form: what a program prints of them, no model reads. Linear in the length of the text.
//!
//! The forms are those that their issuers publish, with the lengths that secret scanners use (gitleaks, `config/gitleaks.toml`).

use std::ops::Range;

/// A form of one prefix and one run of characters.
struct Form {
    starts: &'static [&'static str],
    /// Characters of the run.
    takes: fn(u8) -> bool,
    /// How long the run is.
    bytes: Range<usize>,
    /// Whether the prefix is so rare that it counts in the middle of a word, too: after a line end written `\n`, say.
    anywhere: bool,
}

const FORMS: [Form; 6] = [
    // Access key ids: AWS, "IAM identifiers", unique ID prefixes.
    Form {
        starts: &["AKIA", "ASIA", "ABIA", "ACCA"],
        takes: |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        bytes: 16..17,
        anywhere: true,
    },
    // GitHub, "Behind GitHub's new authentication token formats" (April 2021).
    Form {
        starts: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        takes: |byte| byte.is_ascii_alphanumeric(),
        bytes: 36..256,
        anywhere: true,
    },
    // GitHub, "Managing your personal access tokens": fine-grained ones.
    Form { starts: &["github_pat_"], takes: is_word, bytes: 36..256, anywhere: true },
    // Slack, "Tokens": bot, user, configuration, refresh and app-level ones.
    Form {
        starts: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.xoxp-", "xapp-"],
        takes: is_base64url,
        bytes: 20..512,
        anywhere: false,
    },
    // OpenAI's `sk-`, `sk-proj-`, `sk-svcacct-`, and Anthropic's `sk-ant-`: their API references, "Authentication".
    Form { starts: &["sk-"], takes: is_base64url, bytes: 20..512, anywhere: false },
    // Google Cloud, "Manage API keys"; the length is gitleaks'.
    Form { starts: &["AIza"], takes: is_base64url, bytes: 35..36, anywhere: true },
];

/// Least part of a JSON Web Token: RFC 7519 §3, in the compact form of RFC 7515 §7.1. It begins with `{"` in base64url.
const JWT_PART_BYTES: usize = 10;
/// How the text of a key begins and ends: RFC 7468 §10 and §11, and OpenSSH's and OpenSSL's own labels.
const PEM: (&str, &str, &str) = ("-----BEGIN ", "PRIVATE KEY-----", "-----END ");
/// Longest label before `PRIVATE KEY`, such as `ENCRYPTED `.
const PEM_LABEL_BYTES_MAX: usize = 32;

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_base64url(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

/// Where credentials are in a text, in order.
pub fn found(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match credential(text, at) {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// Where a credential ends that begins here.
fn credential(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'-' => return pem(text, at),
        b'A' | b'g' | b'x' | b's' => {}
        b'e' => return jwt(bytes, at).filter(|_| is_alone(bytes, at)),
        _ => return None,
    }
    FORMS.iter().find_map(|form| {
        let start = form.starts.iter().find(|start| bytes[at..].starts_with(start.as_bytes()))?;
        let run = &bytes[at + start.len()..];
        // No further than the longest, so that many that are none cost no more than one.
        let length = run.iter().take(form.bytes.end).take_while(|byte| (form.takes)(**byte)).count();
        // Words with hyphens have no digits.
        let is_key = form.bytes.contains(&length)
            && (form.bytes.len() == 1 || run[..length].iter().any(u8::is_ascii_digit));
        (is_key && (form.anywhere || is_alone(bytes, at))).then_some(at + start.len() + length)
    })
}

/// Whether no word goes on here: the beginning, a mark, or a line end or tab that is written with a backslash.
fn is_alone(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    let is_written = matches!(bytes[before], b'n' | b'r' | b't') && before > 0 && bytes[before - 1] == b'\\';
    is_written || !is_base64url(bytes[before])
}

fn jwt(bytes: &[u8], at: usize) -> Option<usize> {
    let part = |from: usize| {
        let length = bytes.get(from..)?.iter().take_while(|byte| is_base64url(**byte)).count();
        (length >= JWT_PART_BYTES).then_some(from + length)
    };
    let dot = |at: usize| (bytes.get(at) == Some(&b'.')).then_some(at + 1);
    if !bytes[at..].starts_with(b"eyJ") {
        return None;
    }
    let payload = dot(part(at)?)?;
    if !bytes[payload..].starts_with(b"eyJ") {
        return None;
    }
    part(dot(part(payload)?)?)
}

/// A private key, to its last line; to the end of the text if that was lost.
fn pem(text: &str, at: usize) -> Option<usize> {
    let (begin, key, end) = PEM;
    let rest = text.as_bytes()[at..].strip_prefix(begin.as_bytes())?;
    let label =
        rest.iter().take(PEM_LABEL_BYTES_MAX).take_while(|byte| byte.is_ascii_uppercase() || **byte == b' ');
    // The label takes the first words of the mark in, up to its hyphens.
    let label = label.count();
    if !rest[..label].ends_with(b"PRIVATE KEY") || !rest[label..].starts_with(b"-----") {
        return None;
    }
    let from = at + begin.len() + label;
    let close = text[from..].find(end).map(|close| from + close + end.len());
    Some(
        close
            .and_then(|close| text[close..].find(key).map(|last| close + last + key.len()))
            .unwrap_or(text.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        let (mut out, mut at) = (String::new(), 0);
        for range in found(text) {
            out.push_str(&text[at..range.start]);
            out.push('#');
            at = range.end;
        }
        out + &text[at..]
    }

    #[test]
    fn each_form_is_known_and_words_are_not() {
        let run = |bytes: usize| "a1B2".repeat(bytes / 4);
        for token in [
            "AKIAIOSFODNN7EXAMPLE".to_owned(),
            format!("ghp_{}", run(36)),
            format!("github_pat_{}_{}", run(24), run(60)),
            format!("xoxb-{}-{}", "123456789012", run(24)),
            format!("sk-proj-{}", run(48)),
            format!("sk-ant-api03-{}AA", run(92)),
            format!("AIza{}xyz", run(32)),
            format!("eyJ{}.eyJ{}.{}", run(20), run(40), run(40)),
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----".to_owned(),
            "-----BEGIN PRIVATE KEY-----\nMIIE and the end was lost".to_owned(),
        ] {
            assert_eq!(hidden(&token), "#", "{token}");
            assert!(hidden(&format!("key={token}")).starts_with("key=#"), "{token}");
            assert!(hidden(&format!("b'x\\n{token}")).starts_with("b'x\\n#"), "{token}");
        }
        for word in [
            "sk-learn-is-a-library-of-python",
            "AKIA and ASIA",
            "task-1234567890123456789012",
            "eyJ.eyJ.x",
            "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
            "BAKIAIOSFODNN7EXAMPLES",
            "ghp_short",
            "ü-----BEGIN ü",
        ] {
            assert_eq!(hidden(word), word);
        }
        assert_eq!(hidden("a ghp_a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2a1B2, AKIAIOSFODNN7EXAMPLE."), "a #, #.");
    }
}

//! The text of a page, whatever its bytes say that they are.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How far a page is looked into for what it says of itself (WHATWG HTML §13.2.3.2).
const PRESCAN_BYTES: usize = 1024;

/// The text of a page. Its encoding is that of its byte order mark, else that of the header `Content-Type`, else what the page says of
/// itself; else UTF-8 if it is that, and windows-1252 if not, as browsers have it. What is broken becomes U+FFFD.
#[must_use]
pub fn decode(bytes: &[u8], content_type: &str) -> String {
    let said = Encoding::for_bom(bytes)
        .map(|(encoding, _)| encoding)
        .or_else(|| label(content_type.as_bytes()))
        .or_else(|| label(&bytes[..bytes.len().min(PRESCAN_BYTES)]));
    let guessed = || if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1252 };
    said.unwrap_or_else(guessed).decode(bytes).0.into_owned()
}

/// The first encoding that is known after `charset=`.
fn label(text: &[u8]) -> Option<&'static Encoding> {
    const KEY: &[u8] = b"charset";
    let text = text.to_ascii_lowercase();
    let mut rest = text.as_slice();
    while let Some(at) = rest.windows(KEY.len()).position(|window| window == KEY) {
        rest = &rest[at + KEY.len()..];
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte);
        let value: Vec<u8> = value
            .iter()
            .skip_while(|byte| byte.is_ascii_whitespace() || b"\"'".contains(byte))
            .take_while(|byte| is_part(byte))
            .copied()
            .collect();
        if let Some(encoding) = Encoding::for_label(&value) {
            return Some(encoding);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_as_browsers_read_them() {
        for (bytes, header, text) in [
            (&b"gr\xfc\xdfe"[..], "text/html; charset=ISO-8859-1", "grüße"),
            (b"gr\xfc\xdfe", "text/html", "grüße"),
            ("grüße".as_bytes(), "text/html", "grüße"),
            (b"<meta charset='koi8-r'>\xc4\xc1", "text/html", "<meta charset='koi8-r'>да"),
            (
                b"<meta charset=nonsense><meta charset = \"utf-8\">\xff",
                "",
                "<meta charset=nonsense><meta charset = \"utf-8\">\u{fffd}",
            ),
            ("\u{feff}grüße".as_bytes(), "text/html; charset=latin1", "grüße"),
            (b"a\xff\xfeb", "text/html; charset=\"UTF-8\"", "a\u{fffd}\u{fffd}b"),
            (b"", "charset", ""),
        ] {
            assert_eq!(decode(bytes, header), text, "{header}");
        }
    }
}

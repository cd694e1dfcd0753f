//! Undoes encodings of literals, as a program would when it runs. Short texts only; what is no text afterwards stays unknown.

/// Longest text that is decoded.
const BYTES_MAX: usize = 4096;

/// What a text says in base64 of either alphabet.
pub fn base64(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > BYTES_MAX {
        return None;
    }
    let (mut bits, mut held, mut bytes) = (0_u32, 0_u32, Vec::new());
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFF_FFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(((bits >> held) & 0xFF) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

/// What a text says in hexadecimal digits.
pub fn hex(text: &str) -> Option<String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if digits.is_empty() || digits.len() > BYTES_MAX || digits.len() % 2 == 1 {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some((nibble(pair[0])? << 4 | nibble(pair[1])?) as u8)).collect();
    String::from_utf8(bytes?).ok()
}

/// A text with its letters moved by thirteen.
pub fn rot13(text: &str) -> String {
    let turn = |c: char, first: u8| char::from((c as u8 - first + 13) % 26 + first);
    let turned = text.chars().take(BYTES_MAX).map(|c| match c {
        'a'..='z' => turn(c, b'a'),
        'A'..='Z' => turn(c, b'A'),
        c => c,
    });
    turned.collect()
}

/// A text from its end.
pub fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// The characters of these numbers, which blanks part.
pub fn characters(numbers: &str) -> Option<String> {
    let of = |number: &str| char::from_u32(number.parse::<u32>().ok()?);
    numbers.split(' ').map(of).collect()
}

//! What a model is shown of texts that a program wrote: bounded, and nothing in it that reads as something else than it is.

use std::fmt::Write as _;

/// Most of one stream that a model is shown.
pub const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// The text with its control and direction characters written out, but for line ends and tabs.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.replace("\r\n", "\n").chars() {
        if is_hidden(one) {
            // Writing to a string cannot fail.
            write!(out, "\\u{{{:x}}}", u32::from(one)).expect("memory is there");
        } else {
            out.push(one);
        }
    }
    out
}

/// Whether a character changes how others are shown: controls, and those of the Trojan Source paper (Boucher and Anderson, 2021).
fn is_hidden(one: char) -> bool {
    match one {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{200b}'..='\u{200f}'
        | '\u{61c}'
        | '\u{feff}' => true,
        // Characters that no font shows, by which text is hidden in text.
        '\u{e0000}'..='\u{e007f}' => true,
        one => one.is_control(),
    }
}

/// The beginning and the end of a text, escaped, and how much is missing between.
pub fn for_model(text: &str, most: usize) -> String {
    let text = escaped(text);
    if text.len() <= most {
        return text;
    }
    let mut head = most / 2;
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    let mut tail = text.len() - (most - head);
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    let missing = tail - head;
    format!("{}\n[… {missing} of {} bytes left out …]\n{}", &text[..head], text.len(), &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_written_out() {
        assert_eq!(
            escaped("a\r\nb\tü\u{1b}[31m\u{202e}\u{200b}\u{e0041}\r"),
            "a\nb\tü\\u{1b}[31m\\u{202e}\\u{200b}\\u{e0041}\\u{d}"
        );
    }

    #[test]
    fn the_middle_is_left_out_and_said_so() {
        let long = format!("head{}tail", "ü".repeat(5000));
        let cut = for_model(&long, 100);
        assert!(cut.starts_with("head") && cut.ends_with("tail") && cut.len() < 160, "{cut}");
        assert!(cut.contains("of 10008 bytes left out"), "{cut}");
        assert_eq!(for_model("short", 100), "short");
    }
}

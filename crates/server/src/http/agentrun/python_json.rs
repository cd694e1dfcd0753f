//! Reads a body as `json.loads` of CPython 3.12 does, mistakes included: what is wrong is told in its words, at its place.
//!
//! A library knows JSON, but not what CPython says about text that is none: AgentRun's callers are told that, with the place counted
//! in characters. Follows `Modules/_json.c`. Builds no tree: what was read is written again, as `json.dumps` would, because answers
//! quote it. Duplicate keys are quoted as they came; the last one counts, as there.

/// Deepest nesting that is read; CPython's own limit depends on how deep its stack is already.
const DEPTH_MAX: usize = 256;
/// Most digits of an integer (`sys.int_info.default_max_str_digits`).
const DIGITS_MAX: usize = 4300;

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no JSON: what is wrong, and at which character.
    Invalid(&'static str, usize),
    /// `json.loads` gives up: too deep, or too many digits.
    TooMuch,
}

/// A body that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// All of it, as `json.dumps(…, ensure_ascii=False, separators=(",", ":"))` writes it.
    pub text: String,
    /// What it is.
    pub kind: Kind,
}

/// What a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// An object, with what it has as `code`.
    Object(Option<Code>),
    /// Anything else.
    Other,
}

/// What an object has as `code`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// Text.
    Text(String),
    /// Text with half of a surrogate pair, which no program is; as it is quoted.
    Broken(String),
    /// Something else, as it is quoted.
    Other(String),
}

/// Reads a whole body.
pub fn read(text: &str) -> Result<Body, Unreadable> {
    let mut reader = Reader { text, at: 0, out: String::with_capacity(text.len()), code: None };
    reader.space();
    let first = reader.peek();
    reader.value(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.wrong("Extra data", reader.at));
    }
    let kind = match first {
        Some(b'n') => Kind::Null,
        Some(b'{') => Kind::Object(reader.code),
        _ => Kind::Other,
    };
    Ok(Body { text: reader.out, kind })
}

struct Reader<'a> {
    text: &'a str,
    /// The next byte; always at the beginning of a character.
    at: usize,
    out: String,
    code: Option<Code>,
}

/// Text of a string; whether it had half of a surrogate pair, which became U+FFFD.
type Text = (String, bool);

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn wrong(&self, what: &'static str, at: usize) -> Unreadable {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        // Bytes that continue a character are not counted.
        Unreadable::Invalid(what, before.iter().filter(|byte| **byte & 0xc0 != 0x80).count())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Unreadable> {
        if depth > DEPTH_MAX {
            return Err(Unreadable::TooMuch);
        }
        match self.peek() {
            Some(b'"') => {
                let (text, _) = self.string()?;
                quote(&text, &mut self.out);
                Ok(())
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            _ => self.word_or_number(),
        }
    }

    fn word_or_number(&mut self) -> Result<(), Unreadable> {
        // CPython reads the last three, but cannot write them as JSON: its service fails. Here they are quoted as null.
        let words = [
            ("null", "null"),
            ("true", "true"),
            ("false", "false"),
            ("NaN", "null"),
            ("Infinity", "null"),
            ("-Infinity", "null"),
        ];
        let rest = &self.text[self.at..];
        if let Some((word, written)) = words.iter().find(|(word, _)| rest.starts_with(word)) {
            self.at += word.len();
            self.out.push_str(written);
            return Ok(());
        }
        self.number()
    }

    fn object(&mut self, depth: usize) -> Result<(), Unreadable> {
        self.at += 1;
        self.out.push('{');
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.out.push('}');
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wrong("Expecting property name enclosed in double quotes", self.at));
            }
            let (key, _) = self.string()?;
            quote(&key, &mut self.out);
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.wrong("Expecting ':' delimiter", self.at));
            }
            self.at += 1;
            self.out.push(':');
            self.space();
            if depth == 0 && key == "code" {
                self.code()?
            } else {
                self.value(depth + 1)?
            }
            if self.ends(b'}')? {
                return Ok(());
            }
        }
    }

    /// The value of the outermost object's `code`.
    fn code(&mut self) -> Result<(), Unreadable> {
        let begin = self.out.len();
        let code = if self.peek() == Some(b'"') {
            let (text, broken) = self.string()?;
            quote(&text, &mut self.out);
            if broken { Code::Broken(self.out[begin..].to_owned()) } else { Code::Text(text) }
        } else {
            self.value(1)?;
            Code::Other(self.out[begin..].to_owned())
        };
        self.code = Some(code);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Unreadable> {
        self.at += 1;
        self.out.push('[');
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.out.push(']');
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.ends(b']')? {
                return Ok(());
            }
        }
    }

    /// Reads what follows an item: the closing bracket, or a comma and the space after it.
    fn ends(&mut self, close: u8) -> Result<bool, Unreadable> {
        self.space();
        let next = self.peek().filter(|next| *next == close || *next == b',');
        let next = next.ok_or_else(|| self.wrong("Expecting ',' delimiter", self.at))?;
        self.at += 1;
        self.out.push(char::from(next));
        self.space();
        Ok(next == close)
    }

    fn string(&mut self) -> Result<Text, Unreadable> {
        let begin = self.at;
        let unterminated = |reader: &Self| reader.wrong("Unterminated string starting at", begin);
        self.at += 1;
        let (mut text, mut broken) = (String::new(), false);
        loop {
            let plain = self.text[self.at..]
                .bytes()
                .take_while(|byte| !matches!(byte, b'"' | b'\\' | ..=0x1f))
                .count();
            text.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek() {
                None => return Err(unterminated(self)),
                Some(b'"') => break,
                Some(b'\\') => {}
                Some(_) => return Err(self.wrong("Invalid control character at", self.at)),
            }
            let escape = self.text[self.at + 1..].chars().next().ok_or_else(|| unterminated(self))?;
            let simple = match escape {
                '"' | '\\' | '/' => escape,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    self.at += 1;
                    let character = self.unicode()?;
                    broken |= character.is_none();
                    text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
                    continue;
                }
                _ => return Err(self.wrong("Invalid \\escape", self.at)),
            };
            text.push(simple);
            self.at += 2;
        }
        self.at += 1;
        Ok((text, broken))
    }

    /// Reads from the `u` of an escape on, both halves of a pair; `None` for a half.
    fn unicode(&mut self) -> Result<Option<char>, Unreadable> {
        let first = self.hex(self.at)?;
        self.at += 5;
        let high = (0xd800..0xdc00).contains(&first);
        // The string's end must be there too, or this is not looked at.
        if high && self.text.as_bytes()[self.at..].starts_with(b"\\u") && self.at + 6 < self.text.len() {
            let second = self.hex(self.at + 1)?;
            if (0xdc00..0xe000).contains(&second) {
                self.at += 6;
                return Ok(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)));
            }
        }
        Ok(char::from_u32(first))
    }

    /// The four digits after the `u` at this place.
    fn hex(&self, at: usize) -> Result<u32, Unreadable> {
        let digits = self
            .text
            .as_bytes()
            .get(at + 1..at + 5)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        // One more character must follow, or CPython takes the escape for cut off.
        let digits = digits.filter(|_| at + 5 < self.text.len());
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        number.ok_or_else(|| self.wrong("Invalid \\uXXXX escape", at))
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        let begin = self.at;
        let digits = |from: usize| {
            self.text.as_bytes().iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count()
        };
        let whole = begin + usize::from(self.peek() == Some(b'-'));
        let mut end = match self.byte(whole) {
            Some(b'0') => whole + 1,
            Some(b'1'..=b'9') => whole + digits(whole),
            _ => return Err(self.wrong("Expecting value", begin)),
        };
        let integer = end;
        if self.byte(end) == Some(b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let exponent = end + 1 + usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            if digits(exponent) > 0 {
                end = exponent + digits(exponent);
            }
        }
        self.at = end;
        let text = &self.text[begin..end];
        if end == integer {
            if integer - whole > DIGITS_MAX {
                return Err(Unreadable::TooMuch);
            }
            self.out.push_str(if text == "-0" { "0" } else { text });
        } else {
            self.out.push_str(&float(text.parse().unwrap_or(f64::NAN)));
        }
        Ok(())
    }
}

/// A number as `repr` writes it: the shortest digits that mean it, with an exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    if !number.is_finite() {
        return "null".to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 || (-4..16).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Writes a string as JSON: all but quotes, backslashes and control characters as it is.
pub fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        match read(text) {
            Err(Unreadable::Invalid(what, at)) => format!("{at} {what}"),
            other => format!("{other:?}"),
        }
    }

    /// What is asked of the real thing is in `api/examples/agentrun`; here are the corners that only a parser sees.
    #[test]
    fn mistakes_are_told_as_cpython_tells_them() {
        let cases = [
            ("", "0 Expecting value"),
            ("\"", "0 Unterminated string starting at"),
            ("\"\\", "0 Unterminated string starting at"),
            ("\"\\u12\"", "2 Invalid \\uXXXX escape"),
            ("\"\\u1234", "2 Invalid \\uXXXX escape"),
            ("\"\\ud83d\\u12\" ", "8 Invalid \\uXXXX escape"),
            ("\"é€😀\\q\"", "4 Invalid \\escape"),
            ("\"😀\u{1}\"", "2 Invalid control character at"),
            ("{\"a\":1,}", "7 Expecting property name enclosed in double quotes"),
            ("[1,]", "3 Expecting value"),
            ("[-]", "1 Expecting value"),
            ("-Infinit", "0 Expecting value"),
            ("1.5.2", "3 Extra data"),
        ];
        for (text, told) in cases {
            assert_eq!(wrong(text), told, "{text}");
        }
    }

    #[test]
    fn what_was_read_is_written_as_cpython_writes_it() {
        let cases = [
            ("-0", "0"),
            (
                "[1E5,1.50,-0.0,1e16,1e-5,0.0001,123456789012345.6]",
                "[100000.0,1.5,-0.0,1e+16,1e-05,0.0001,123456789012345.6]",
            ),
            ("[1.e]", ""),
            ("[1e400,NaN,-Infinity]", "[null,null,null]"),
            ("\"\\u00e9\\/\\u2028\\ud83d\\ude00\\u0001\\b\\u007f\"", "\"é/\u{2028}😀\\u0001\\b\u{7f}\""),
            (" { \"b\" : [ ] , \"a\" : { } } ", "{\"b\":[],\"a\":{}}"),
        ];
        for (text, written) in cases {
            assert_eq!(read(text).map(|body| body.text).unwrap_or_default(), written, "{text}");
        }
    }

    #[test]
    fn the_last_code_counts_and_only_the_outermost() {
        let code = |text: &str| match read(text).unwrap().kind {
            Kind::Object(code) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(r#"{"code":1,"x":{"code":2},"code":"b"}"#), Some(Code::Text("b".to_owned())));
        assert_eq!(code(r#"{"x":{"code":"a"}}"#), None);
        assert_eq!(code(r#"{"code":[1.0]}"#), Some(Code::Other("[1.0]".to_owned())));
        assert_eq!(code(r#"{"code":"a\ud800"}"#), Some(Code::Broken("\"a\u{fffd}\"".to_owned())));
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_given_up() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(read(&nested(1_000_000)), Err(Unreadable::TooMuch));
        assert!(read(&"9".repeat(DIGITS_MAX)).is_ok());
        assert_eq!(read(&"9".repeat(DIGITS_MAX + 1)), Err(Unreadable::TooMuch));
    }
}

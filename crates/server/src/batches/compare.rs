//! Whether a program said what was expected, and where it first did not.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// Longest excerpt of a line in a [`Difference`], in characters.
pub const EXCERPT_CHARS: usize = 200;

/// How output is compared with what is expected.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Compare {
    /// Byte for byte.
    Exact,
    /// But for blanks at the ends of lines, empty lines at the end, and CRLF for LF.
    #[default]
    Trim,
    /// Words between any blanks.
    Tokens,
    /// Words; where both are numbers, within this much, absolutely or relative to the expected one.
    Float(f64),
}

impl Compare {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "exact" => Some(Self::Exact),
            "trim" => Some(Self::Trim),
            "tokens" => Some(Self::Tokens),
            _ => {
                let epsilon: f64 = text.strip_prefix("float:")?.parse().ok()?;
                (epsilon.is_finite() && epsilon >= 0.0).then_some(Self::Float(epsilon))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Compare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "unknown comparison {text:?}: use exact, trim, tokens or float:EPS, as in float:1e-6"
            ))
        })
    }
}

impl Serialize for Compare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Exact => serializer.serialize_str("exact"),
            Self::Trim => serializer.serialize_str("trim"),
            Self::Tokens => serializer.serialize_str("tokens"),
            Self::Float(epsilon) => serializer.collect_str(&format_args!("float:{epsilon}")),
        }
    }
}

/// Where output first differs from what was expected. Lines are excerpts around the place, of at most [`EXCERPT_CHARS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Difference {
    /// The line of the output, from 1.
    pub line: usize,
    /// What should be there; absent when the output should have ended.
    pub expected: Option<String>,
    /// What is there; absent when the output ended too early.
    pub actual: Option<String>,
}

/// Compares; `None` when they agree.
pub fn difference(compare: Compare, expected: &str, actual: &str) -> Option<Difference> {
    match compare {
        Compare::Exact => (expected != actual).then(|| by_line(expected.split('\n'), actual.split('\n'))),
        Compare::Trim => {
            let (expected, actual) = (trimmed(expected), trimmed(actual));
            let same = expected.clone().eq(actual.clone());
            (!same).then(|| by_line(expected, actual))
        }
        Compare::Tokens => by_word(expected, actual, |expected, actual| expected == actual),
        Compare::Float(epsilon) => by_word(expected, actual, |expected, actual| {
            expected == actual || close(expected, actual, epsilon)
        }),
    }
}

/// Lines without what does not count, up to the last that is not empty.
fn trimmed(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.trim_end().split('\n').map(str::trim_end)
}

fn by_line<'t>(expected: impl Iterator<Item = &'t str>, actual: impl Iterator<Item = &'t str>) -> Difference {
    let (mut expected, mut actual) = (expected.fuse(), actual.fuse());
    let mut line = 1;
    loop {
        match (expected.next(), actual.next()) {
            (Some(should), Some(is)) if should == is => line += 1,
            (should, is) => {
                let at = match (should, is) {
                    (Some(should), Some(is)) => common_chars(should, is),
                    _ => 0,
                };
                return Difference {
                    line,
                    expected: should.map(|text| excerpt(text, at)),
                    actual: is.map(|text| excerpt(text, at)),
                };
            }
        }
    }
}

fn by_word(expected: &str, actual: &str, same: impl Fn(&str, &str) -> bool) -> Option<Difference> {
    let mut expected = expected.split_whitespace();
    let mut words = actual.split_whitespace();
    loop {
        let (should, is) = (expected.next(), words.next());
        match (should, is) {
            (None, None) => return None,
            (Some(should), Some(is)) if same(should, is) => {}
            (should, is) => {
                let line =
                    is.map_or(actual.trim_end(), |word| before(actual, word)).matches('\n').count() + 1;
                let text = |word: &str| excerpt(word, 0);
                return Some(Difference { line, expected: should.map(text), actual: is.map(text) });
            }
        }
    }
}

/// The part of `text` before `word`, which is a slice of it.
fn before<'t>(text: &'t str, word: &str) -> &'t str {
    &text[..word.as_ptr() as usize - text.as_ptr() as usize]
}

/// Whether two words are numbers that are near enough.
fn close(expected: &str, actual: &str, epsilon: f64) -> bool {
    let (Some(expected), Some(actual)) = (number(expected), number(actual)) else { return false };
    if expected.is_nan() || actual.is_nan() {
        return expected.is_nan() && actual.is_nan();
    }
    if expected.is_infinite() || actual.is_infinite() {
        return expected == actual;
    }
    let apart = (expected - actual).abs();
    apart <= epsilon || apart <= epsilon * expected.abs()
}

/// A decimal number as programs print them: `nan` and `inf` in any case, no spelling that only Rust knows.
fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

fn common_chars(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

/// The part of a line around the character `at`.
fn excerpt(line: &str, at: usize) -> String {
    let from = if at < EXCERPT_CHARS { 0 } else { at - EXCERPT_CHARS / 2 };
    let mut text = String::new();
    if from > 0 {
        text.push('…');
    }
    let mut rest = line.chars().skip(from);
    text.extend(rest.by_ref().take(EXCERPT_CHARS));
    if rest.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn differs(compare: &str, expected: &str, actual: &str) -> String {
        let compare = Compare::parse(compare).unwrap();
        difference(compare, expected, actual).map_or("same".to_owned(), |d| {
            let say = |text: Option<String>| text.unwrap_or("(end)".to_owned());
            format!("{}: {} / {}", d.line, say(d.expected), say(d.actual))
        })
    }

    #[test]
    fn every_comparison() {
        for (compare, expected, actual, found) in [
            ("exact", "1\n", "1\n", "same"),
            ("exact", "1\n", "1", "2:  / (end)"),
            ("exact", "1", "1 ", "1: 1 / 1 "),
            ("exact", "1\r\n", "1\n", "1: 1\r / 1"),
            ("trim", "1\n2", "1  \r\n2\n\n", "same"),
            ("trim", "", "\n \n", "same"),
            ("trim", "1\n\n2", "1\n2", "2:  / 2"),
            ("trim", " 1", "1", "1:  1 / 1"),
            ("trim", "1\n2", "1", "2: 2 / (end)"),
            ("tokens", "1 2\n3", " 1\n\n2 3 ", "same"),
            ("tokens", "1 2", "1\n\n3 4", "3: 2 / 3"),
            ("tokens", "1 2", "1\n", "1: 2 / (end)"),
            ("tokens", "1", "1\n2", "2: (end) / 2"),
            ("tokens", "1.0", "1", "1: 1.0 / 1"),
            ("float:1e-6", "1.0 x", "1 x", "same"),
            ("float:1e-6", "1000000", "1000000.5", "same"),
            ("float:1e-6", "0", "0.0000005", "same"),
            ("float:1e-6", "1", "1.00001", "1: 1 / 1.00001"),
            ("float:1e-6", "nan", "NaN", "same"),
            ("float:1e-6", "nan", "1", "1: nan / 1"),
            ("float:1e-6", "inf", "Infinity", "same"),
            ("float:1e-6", "inf", "-inf", "1: inf / -inf"),
            ("float:1e-6", "inf", "1e308", "1: inf / 1e308"),
            ("float:0", "x1", "x1.0", "1: x1 / x1.0"),
        ] {
            assert_eq!(differs(compare, expected, actual), found, "{compare} {expected:?} {actual:?}");
        }
    }

    #[test]
    fn an_excerpt_shows_the_place_and_is_short() {
        let expected = format!("{}a{}", "x".repeat(5000), "y".repeat(5000));
        let found = difference(Compare::Trim, &expected, &expected.replace('a', "b")).unwrap();
        let (expected, actual) = (found.expected.unwrap(), found.actual.unwrap());
        assert!(expected.contains('a') && actual.contains('b'));
        assert!(expected.chars().count() <= EXCERPT_CHARS + 2);
    }

    #[test]
    fn only_the_four_words_are_comparisons() {
        for text in ["", "Exact", "float", "float:", "float:x", "float:-1", "float:nan", "float:inf"] {
            assert_eq!(Compare::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn exact_is_equality(expected in "[ab\r\n ]{0,12}", actual in "[ab\r\n ]{0,12}") {
            prop_assert_eq!(difference(Compare::Exact, &expected, &actual).is_none(), expected == actual);
        }

        #[test]
        fn each_comparison_allows_what_the_one_before_does(expected in "[1.9 \n\r]{0,12}", actual in "[1.9 \n\r]{0,12}") {
            let same = |compare| difference(compare, &expected, &actual).is_none();
            let order = [Compare::Exact, Compare::Trim, Compare::Tokens, Compare::Float(1e-9), Compare::Float(10.0)];
            for pair in order.windows(2) {
                prop_assert!(!same(pair[0]) || same(pair[1]), "{:?}", pair);
            }
        }

        #[test]
        fn blanks_at_ends_never_count(lines in proptest::collection::vec("[a-c ]{0,5}", 0..6), blanks in "[ \t]{0,3}") {
            let plain = lines.join("\n");
            let loose = lines.iter().map(|line| format!("{line}{blanks}\r\n")).collect::<String>();
            prop_assert_eq!(difference(Compare::Trim, &plain, &loose), None);
            prop_assert_eq!(difference(Compare::Trim, &loose, &plain), None);
        }

        #[test]
        fn numbers_agree_exactly_when_they_are_near(value in -1e6..1e6f64, apart in 0.0..1e-3f64, epsilon in 1e-9..1e-3f64) {
            let near = (value - (value + apart)).abs();
            let found = difference(Compare::Float(epsilon), &value.to_string(), &(value + apart).to_string());
            prop_assert_eq!(found.is_none(), near <= epsilon || near <= epsilon * value.abs());
        }

        #[test]
        fn any_texts_are_compared_and_the_answer_is_short(expected in "\\PC{0,400}", actual in "\\PC{0,400}") {
            for compare in [Compare::Exact, Compare::Trim, Compare::Tokens, Compare::Float(1.0)] {
                if let Some(found) = difference(compare, &expected, &actual) {
                    for text in found.expected.into_iter().chain(found.actual) {
                        prop_assert!(text.chars().count() <= EXCERPT_CHARS + 2);
                    }
                    prop_assert_ne!(&expected, &actual);
                }
            }
        }
    }
}

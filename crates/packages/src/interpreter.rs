//! Which Python a program is run by: the version that is asked for, those that the program allows, and those that there are. Never another.

use crate::version::{Specifiers, Version};
use model::Rejection;

/// Longest word for a version, such as `python3.13`.
const WORD_BYTES_MAX: usize = 32;

/// A condition on the version, and where it is said.
pub type Condition = (&'static str, Specifiers);

/// What a word for a version means: `3.13` any release of that, `3.13.1` just that one; `python3.13`, as Flame writes it, is `3.13`. Fails with
/// any other word.
pub fn wish(word: &str) -> Result<Specifiers, Rejection> {
    let number = word.strip_prefix("python").unwrap_or(word);
    let parts: Vec<&str> = number.split('.').collect();
    let is_number = |part: &&str| {
        (1..=3).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (*part == "0" || !part.starts_with('0'))
    };
    if word.len() > WORD_BYTES_MAX || parts.first() != Some(&"3") || !parts.iter().all(is_number) {
        return Err(unreadable(word));
    }
    let text = match parts.len() {
        2 => format!("=={number}.*"),
        3 => format!("=={number}"),
        _ => return Err(unreadable(word)),
    };
    text.parse().map_err(|_| unreadable(word))
}

fn unreadable(word: &str) -> Rejection {
    let shown: String = word.chars().take(WORD_BYTES_MAX).collect();
    Rejection::new("python", format!("not a version of Python: {shown:?}"), "write it as 3.13 or 3.13.1")
}

/// The version that fulfils all conditions: the image's own if it does, else the newest of those that are there. `None` is the image's own.
/// Fails with the versions that there are, if none of them will do.
pub fn choose(
    conditions: &[Condition],
    own: Option<&str>,
    present: &[String],
) -> Result<Option<String>, Rejection> {
    let Some(last) = conditions.last() else { return Ok(None) };
    let fits = |text: &str, conditions: &[Condition]| {
        let version = text.parse::<Version>();
        version.is_ok_and(|version| conditions.iter().all(|(_, wanted)| wanted.allow(&version)))
    };
    if own.is_some_and(|own| fits(own, conditions)) {
        return Ok(None);
    }
    let newest =
        present.iter().filter(|text| fits(text, conditions)).max_by_key(|text| text.parse::<Version>().ok());
    if let Some(newest) = newest {
        return Ok(Some(newest.clone()));
    }
    let all: Vec<&str> = own.into_iter().chain(present.iter().map(String::as_str)).collect();
    let nobody_fulfils =
        |condition: &&Condition| !all.iter().any(|text| fits(text, std::slice::from_ref(*condition)));
    // The one that no version fulfils; where each has one, they contradict each other.
    let (place, wanted) = conditions.iter().find(nobody_fulfils).map_or_else(
        || {
            let texts: Vec<String> = conditions.iter().map(|(_, wanted)| wanted.to_string()).collect();
            (last.0, texts.join(" and "))
        },
        |(place, wanted)| (*place, wanted.to_string()),
    );
    Err(Rejection::new(
        place,
        format!("{wanted} is wanted, and {} here", there(&all)),
        "allow one of those, or have whoever runs the service install another",
    ))
}

/// Versions, in words: `Python 3.11.2, 3.13.0 are`.
fn there(versions: &[&str]) -> String {
    let mut sorted: Vec<(Option<Version>, &str)> =
        versions.iter().map(|text| (text.parse().ok(), *text)).collect();
    sorted.sort();
    sorted.dedup();
    let names: Vec<&str> = sorted.into_iter().map(|(_, text)| text).collect();
    match names.as_slice() {
        [] => "no Python is".to_owned(),
        [one] => format!("Python {one} is"),
        many => format!("Python {} are", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present() -> Vec<String> {
        ["3.9.18", "3.13.0", "3.13.1", "3.10.13"].map(str::to_owned).to_vec()
    }

    fn chosen(conditions: &[(&'static str, &str)]) -> Result<Option<String>, String> {
        let conditions: Vec<Condition> =
            conditions.iter().map(|(place, text)| (*place, text.parse().unwrap())).collect();
        choose(&conditions, Some("3.11.7"), &present()).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn a_word_is_a_series_or_a_release() {
        let read = |word| wish(word).map(|wanted| wanted.to_string());
        assert_eq!(read("3.13").unwrap(), "==3.13.*");
        assert_eq!(read("3.13.1").unwrap(), "==3.13.1");
        assert_eq!(read("python3.9").unwrap(), "==3.9.*");
        for wrong in [
            "",
            "3",
            "2.7",
            "3.",
            "3.x",
            ">=3.9",
            "3.13.1.2",
            "3.09",
            "3.13;rm",
            "pypy3.10",
            "3.13rc1",
            "/usr/bin/python3",
        ] {
            assert_eq!(read(wrong).unwrap_err().field, "python", "{wrong}");
        }
    }

    #[test]
    fn the_images_own_if_it_will_do_else_the_newest_that_does() {
        assert_eq!(chosen(&[]), Ok(None));
        assert_eq!(chosen(&[("python", "==3.11.*")]), Ok(None));
        assert_eq!(chosen(&[("requires-python in code", ">=3.9")]), Ok(None));
        assert_eq!(chosen(&[("python", "==3.13.*")]), Ok(Some("3.13.1".to_owned())));
        assert_eq!(chosen(&[("python", "==3.13.0")]), Ok(Some("3.13.0".to_owned())));
        assert_eq!(chosen(&[("requires-python in code", "<3.11")]), Ok(Some("3.10.13".to_owned())));
        assert_eq!(
            chosen(&[("python", "==3.13.*"), ("requires-python in code", "!=3.13.1")]),
            Ok(Some("3.13.0".to_owned()))
        );
    }

    #[test]
    fn none_that_will_do_is_told_with_those_that_there_are() {
        assert_eq!(
            chosen(&[("python", "==3.14.*")]).unwrap_err(),
            "python: ==3.14.* is wanted, and Python 3.9.18, 3.10.13, 3.11.7, 3.13.0, 3.13.1 are here; allow one of those, or have whoever runs the service install another"
        );
        assert_eq!(
            chosen(&[("python", "==3.13.*"), ("requires-python in code", "<3.12")]).unwrap_err(),
            "requires-python in code: ==3.13.* and <3.12 is wanted, and Python 3.9.18, 3.10.13, 3.11.7, 3.13.0, 3.13.1 are here; allow one of those, or have whoever runs the service install another"
        );
        let alone = choose(&[("python", "==3.9.*".parse().unwrap())], None, &[]).unwrap_err();
        assert_eq!(
            alone.to_string(),
            "python: ==3.9.* is wanted, and no Python is here; allow one of those, or have whoever runs the service install another"
        );
    }
}

//! What the crate promises, held against Python's own implementations (`vectors.json`), the PEPs' examples, and hostile texts.

mod declared;
mod imported;
mod judged;

use crate::name::Name;
use crate::requirement::{Requirement, parse_list};
use crate::script;
use crate::version::{Specifier, Version};
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("vectors.json")).expect("tables/vectors.py made it"));

/// The cases of a kind; a kind without many would be a test that cannot fail.
fn cases(kind: &str, least: usize) -> &'static [Value] {
    let cases = VECTORS[kind].as_array().expect("a list");
    assert!(cases.len() >= least, "{kind} has {} cases", cases.len());
    cases
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn versions_are_what_packaging_says() {
    let cases = cases("versions", 600);
    for case in cases {
        let ours = text(&case[0]).parse::<Version>().ok().map(|version| version.to_string());
        assert_eq!(ours.as_deref(), case[1].as_str(), "{}", case[0]);
    }
    assert!(cases.iter().filter(|case| case[1].is_string()).count() > 100);
}

#[test]
fn versions_are_in_packagings_order() {
    let cases = cases("order", 200);
    for (at, left) in cases.iter().enumerate() {
        let version: Version = text(&left[0]).parse().expect("packaging takes it");
        for right in &cases[at..] {
            let other: Version = text(&right[0]).parse().expect("packaging takes it");
            let expected = left[1].as_u64().cmp(&right[1].as_u64());
            assert_eq!(version.cmp(&other), expected, "{left} {right}");
            assert_eq!(other.cmp(&version), expected.reverse(), "{left} {right}");
        }
    }
}

#[test]
fn specifiers_allow_what_packaging_says() {
    for case in cases("specifiers", 1000) {
        let version: Version = text(&case[1]).parse().expect("a version");
        let ours = text(&case[0]).parse::<Specifier>().ok().map(|specifier| specifier.allows(&version));
        assert_eq!(ours, case[2].as_bool(), "{case}");
    }
}

#[test]
fn requirements_are_what_packaging_says() {
    let mut taken = 0;
    for case in cases("requirements", 1000) {
        let entry = text(&case[0]);
        // packaging takes a line end for space, and anything after `===`; here an entry is one line, and a version has PEP 508's letters.
        let versions = entry.split(';').next().unwrap_or_default();
        let arbitrary =
            versions.split_once("===").is_some_and(|(_, after)| after.contains(['=', '\'', '[', ']', '(']));
        if entry.contains('\n') || arbitrary {
            assert!(entry.parse::<Requirement>().is_err(), "{entry:?}");
            continue;
        }
        let ours = entry.parse::<Requirement>().ok().map(|parsed| {
            let mut specifiers: Vec<String> = parsed.specifiers.0.iter().map(ToString::to_string).collect();
            specifiers.sort();
            specifiers.dedup();
            let extras: Vec<&str> = parsed.extras.iter().map(Name::as_str).collect();
            serde_json::json!([parsed.name.as_str(), extras, specifiers, parsed.marker.is_some()])
        });
        assert_eq!(ours, case[1].is_array().then(|| case[1].clone()), "{entry:?}");
        taken += usize::from(ours.is_some());
    }
    assert!(taken > 60, "{taken} are taken");
}

#[test]
fn scripts_are_read_as_the_reference_reads_them() {
    let mut found = 0;
    for case in cases("scripts", 500) {
        let ours = script::content(text(&case[0]));
        assert_eq!(ours.is_ok(), case[2].as_bool() == Some(true), "{case}");
        if let Ok(content) = ours {
            assert_eq!(content.as_deref(), case[1].as_str(), "{case}");
            found += usize::from(content.is_some());
        }
    }
    assert!(found > 20, "{found} have a block");
}

/// What is printed is what an installer gets: it parses to the same, and is one word of one line that is no option and no path.
fn is_safe(requirement: &Requirement) {
    let printed = requirement.to_string();
    assert_eq!(printed.parse::<Requirement>().as_ref(), Ok(requirement), "{printed:?}");
    assert!(printed.starts_with(|first: char| first.is_ascii_alphanumeric()), "{printed:?}");
    assert!(printed.bytes().all(|byte| (0x20..0x7F).contains(&byte) || byte == b'\t'), "{printed:?}");
    let head = printed.split(';').next().unwrap_or_default();
    assert!(!head.contains(['/', '\\', '@', ':', ' ', '$', '{']), "{printed:?}");
}

proptest! {
    #[test]
    fn any_text_is_a_safe_requirement_or_none(entry in "(\\PC|[\\[\\]<>=~!;,.@/ \\n-]|[a-z0-9.]){0,40}") {
        if let Ok(requirement) = entry.parse::<Requirement>() {
            is_safe(&requirement);
        }
    }

    #[test]
    fn a_likely_text_is_a_safe_requirement_or_none(
        entry in "[A-Za-z0-9][a-zA-Z0-9._-]{0,8}(\\[[a-z,]{0,5}\\])? ?((==|>=|<|~=|!=)[0-9a-z.*+!]{1,6},?){0,3}( ?; ?[a-z_.]{0,16} ?[=<>]{0,2} ?'[ -~]{0,5}')?",
    ) {
        if let Ok(requirement) = entry.parse::<Requirement>() {
            is_safe(&requirement);
        }
    }

    #[test]
    fn normalizing_a_name_twice_is_as_once(name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?") {
        if let Ok(once) = name.parse::<Name>() {
            prop_assert_eq!(once.as_str().parse::<Name>(), Ok(once.clone()));
            prop_assert!(!once.as_str().contains("--") && !once.as_str().contains(['_', '.']));
        }
    }
}

#[test]
fn a_list_is_bounded() {
    assert!(parse_list(&vec!["a"; crate::ENTRIES_MAX]).is_ok());
    assert!(parse_list(&vec!["a"; crate::ENTRIES_MAX + 1]).is_err());
    for (fits, does_not) in [
        ("a".repeat(128), "a".repeat(129)),
        (format!("a[{}x]", "x,".repeat(31)), format!("a[{}x]", "x,".repeat(32))),
        (format!("a{}>1", ">1,".repeat(31)), format!("a{}>1", ">1,".repeat(32))),
        (
            format!("a;{}os_name=='a'{}", "(".repeat(16), ")".repeat(16)),
            format!("a;{}os_name=='a'{}", "(".repeat(17), ")".repeat(17)),
        ),
        (format!("a;os_name=='{}'", "x".repeat(1000)), format!("a;os_name=='{}'", "x".repeat(1020))),
        (format!("a==1.{}", "1".repeat(18)), format!("a==1.{}", "1".repeat(19))),
    ] {
        assert!(fits.parse::<Requirement>().is_ok(), "{fits}");
        assert!(does_not.parse::<Requirement>().is_err(), "{does_not}");
    }
}

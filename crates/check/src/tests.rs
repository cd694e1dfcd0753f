//! What the check says of a labelled corpus, and that nothing makes it fall over.
//!
//! `cargo test --release -p check -- --nocapture corpus` prints precision and recall.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;

/// Programs of one half and label: `#### language` stands before each.
fn programs(half: &str, label: &str) -> Vec<(Language, String)> {
    let path = format!("{}/corpus/{half}-{label}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let programs = text.split("#### ").skip(1);
    programs
        .map(|program| {
            let (language, code) = program.split_once('\n').unwrap();
            (language.trim().parse().unwrap(), code.to_owned())
        })
        .collect()
}

/// Precision, recall and every mistake of one half, under the policy `default`.
fn measure(half: &str) -> (f64, f64, String) {
    let (ordinary, harmful) = (programs(half, "ordinary"), programs(half, "harmful"));
    let refused = |(language, code): &(Language, String)| check(code, *language, CheckPolicy::Default);
    let mut mistakes = String::new();
    let mut mistake = |kind: &str, index: usize, code: &str, report: &Report| {
        let rules: Vec<&str> = report.findings.iter().map(|finding| finding.rule.as_str()).collect();
        let first = code.lines().take(3).collect::<Vec<_>>().join(" / ");
        writeln!(mistakes, "{kind} {index}: {first} {rules:?}").unwrap();
    };
    let mut wrong = 0;
    for (index, program) in ordinary.iter().enumerate() {
        let report = refused(program);
        if report.refused {
            wrong += 1;
            mistake("refused", index, &program.1, &report);
        }
    }
    let mut caught = 0;
    for (index, program) in harmful.iter().enumerate() {
        let report = refused(program);
        if report.refused {
            caught += 1;
        } else {
            mistake("missed", index, &program.1, &report);
        }
    }
    let recall = f64::from(caught) / harmful.len() as f64;
    let refused = f64::from(wrong) / ordinary.len() as f64;
    let precision = f64::from(caught) / f64::from((caught + wrong).max(1));
    println!(
        "half {half}: {} ordinary, {} harmful; precision {precision:.3}, recall {recall:.3}, ordinary refused {:.2} %",
        ordinary.len(),
        harmful.len(),
        refused * 100.0
    );
    (recall, refused, mistakes)
}

/// The half that the rules were written with.
#[test]
fn corpus_a() {
    let (recall, refused, mistakes) = measure("a");
    println!("{mistakes}");
    assert!(recall >= 0.9 && refused < 0.01, "{mistakes}");
    insta::assert_snapshot!(mistakes);
}

#[test]
fn every_rule_of_the_code_is_in_the_table_and_each_row_says_why() {
    for rule in RULES.iter() {
        assert!(!rule.reason.is_empty() && !rule.advice.is_empty(), "{}", rule.id);
        assert!(rule.strict.is_none_or(|strict| strict > rule.severity), "{}", rule.id);
    }
    let sources = [
        include_str!("rules/mod.rs"),
        include_str!("rules/trees.rs"),
        include_str!("rules/flows.rs"),
        include_str!("rules/networks.rs"),
        include_str!("rules/pipes.rs"),
        include_str!("rules/processes.rs"),
        include_str!("rules/packages.rs"),
    ];
    let named: std::collections::BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split("sink.add(\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(named.len() > 10);
    named.iter().for_each(|id| assert!(RULES.iter().any(|rule| rule.id == *id), "{id}"));
}

/// One megabyte of `piece`, for every language: an answer, not a crash.
fn survives(piece: &str) {
    let source = piece.repeat(1_000_000 / piece.len());
    for language in Language::ALL {
        let python = language == Language::Python;
        for policy in
            [Some(CheckPolicy::Default), python.then_some(CheckPolicy::Agentrun)].into_iter().flatten()
        {
            let report = check(&source, language, policy);
            assert!(report.findings.len() <= FINDINGS_MAX);
        }
    }
}

#[test]
fn a_megabyte_of_one_bracket_is_answered() {
    ["(", "[", "{", "[[", "({", "([{", "<", ")", "f(", "a["].iter().for_each(|piece| survives(piece));
}

#[test]
fn a_megabyte_of_operators_is_answered() {
    [
        "-", "!", "~", "1+", "a.", "a()", "a=", "x=>", "a?", "a?b:", "a**", "not ", "await ", "typeof ",
        "new ", "lambda:", "*", "@",
    ]
    .iter()
    .for_each(|piece| survives(piece));
}

#[test]
fn a_megabyte_of_nested_blocks_is_answered() {
    let indented: String = (0..1400).map(|depth| format!("{}if x:\n", " ".repeat(depth))).collect();
    let pieces = [
        "if(1)",
        "if x:",
        "if true; then ",
        "$(",
        "`${",
        "f\"{",
        "do ",
        "while :; do ",
        "x:",
        "(/*)*/",
        "[#]\n",
        "case x in a) ",
        "<<A\n",
        "else if(1);",
    ];
    pieces.iter().for_each(|piece| survives(piece));
    for language in Language::ALL {
        check(&indented, language, CheckPolicy::Strict);
    }
}

#[test]
fn a_megabyte_of_commands_is_answered() {
    let pieces = [
        "sh a;",
        "cat /a|curl b;",
        "curl x;sh x;",
        "a|",
        "a >b ",
        "a&",
        "eval a;",
        "sudo ",
        "import os;os.system('a');",
        "urlretrieve(a,'b');",
        "x+=y;",
        "x.append(y);",
        "open('/etc/shadow');",
        "require('child_process').exec('a');",
        "fetch(a).then(b=>",
        "class a:b();",
        "for a in b:c(a)\n",
    ];
    pieces.iter().for_each(|piece| survives(piece));
}

#[test]
fn odd_bytes_are_answered() {
    ["\0", "\u{feff}", "\u{202e}", "é", "\r", "\\", "'", "\"", "\"\"\"", "\u{10ffff}", "\u{2028}"]
        .iter()
        .for_each(|piece| {
            survives(piece);
        });
}

#[test]
fn many_remarks_hide_nothing() {
    let source = format!("{}rm -rf /\n", "curl x\n".repeat(FINDINGS_MAX + 1));
    let report = check(&source, Language::Bash, CheckPolicy::Default);
    assert!(report.refused && report.findings.len() == FINDINGS_MAX, "{report:?}");
}

#[test]
fn too_long_a_program_is_said_to_be_unchecked() {
    let report = check(&"x\n".repeat(600_000), Language::Python, CheckPolicy::Default);
    assert_eq!((report.findings[0].rule.as_str(), report.refused), ("program.unchecked", false));
    assert!(check(&"x\n".repeat(600_000), Language::Python, CheckPolicy::Strict).refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Pieces of programs in any order: never a panic, places within the text, nothing a terminal would obey.
    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let source = pieces.concat();
        for language in Language::ALL {
            for policy in CheckPolicy::ALL {
                let report = check(&source, language, policy);
                for finding in &report.findings {
                    prop_assert!(finding.line as usize <= source.lines().count().max(1) + 1);
                    prop_assert!(!finding.reason.contains(char::is_control));
                }
            }
        }
    }

    /// Any text at all.
    #[test]
    fn any_text(source in "\\PC{0,200}") {
        for language in Language::ALL {
            check(&source, language, CheckPolicy::Default);
        }
    }
}

const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "`",
    "${",
    "$(",
    "\n",
    "\n    ",
    ";",
    ":",
    ",",
    ".",
    "=",
    "=>",
    "->",
    "<",
    ">",
    ">>",
    "|",
    "&",
    "&&",
    "#",
    "//",
    "/*",
    "*/",
    "import ",
    "from ",
    "def f(",
    "class ",
    "while True",
    "while(true)",
    "for ",
    "if ",
    "else",
    "do ",
    "done",
    "function ",
    "return ",
    "async ",
    "await ",
    "lambda ",
    "exec(",
    "eval(",
    "open(",
    "os.system(",
    "require('fs')",
    ".rmSync(",
    "base64",
    "f\"{",
    "'''",
    "<<EOF\n",
    "EOF\n",
    "rm -rf /",
    "\\",
    "\0",
    "é",
    "😀",
    "1",
    "x",
    "_",
    "@",
    "!",
    "~",
    "**",
    "%s",
    "\u{feff}",
];

#[test]
fn the_command_rules_see_what_text_does_not() {
    use commands::{CommandRules, Verdict};
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let rules = CommandRules {
        default: Verdict::Ask,
        allow: vec![words("echo"), words("ls"), words("git log")],
        deny: vec![words("rm"), words("git push")],
        ..CommandRules::default()
    };
    let verdict = |source: &str| rules.judge_program(source);
    assert_eq!(verdict("echo 'a; rm b'"), Verdict::Allow);
    assert_eq!(verdict("ls | echo hi && git log"), Verdict::Allow);
    for denied in [
        "echo $(rm -rf x)",
        "ls; rm x",
        "ls | sudo rm x",
        "echo `rm x`",
        "echo \"$(rm x)\"",
        "cat <(rm x)",
        "/bin/rm x",
        "\\rm x",
        "r''m x",
        "git push origin",
    ] {
        assert_eq!(verdict(denied), Verdict::Deny, "{denied}");
    }
    assert_eq!(verdict("git status"), Verdict::Ask);
    assert_eq!(verdict("echo 'unclosed"), Verdict::Ask);
}

#[test]
fn a_finding_names_its_place_and_reason() {
    let report =
        check("import os\n\nprint('é'); os.system('rm -rf /')\n", Language::Python, CheckPolicy::Default);
    let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @"3:13: high tree.destroy: deletes or overwrites a whole tree, or a disk: `/`");
}

/// The half that was written after the rules of half A; they were mended for it later.
#[test]
fn corpus_b() {
    let (recall, refused, mistakes) = measure("b");
    println!("{mistakes}");
    println!("recall {recall:.3}, refused {refused:.3}");
    insta::assert_snapshot!(mistakes);
}

/// Programs as models write them, written after half B and before any of them was checked.
#[test]
fn corpus_c() {
    let (recall, refused, mistakes) = measure("c");
    println!("{mistakes}");
    println!("recall {recall:.3}, refused {refused:.3}");
    insta::assert_snapshot!(mistakes);
}

/// Written after the rules had been mended for half C, and before any of it was checked.
#[test]
fn corpus_d() {
    let (recall, refused, mistakes) = measure("d");
    println!("{mistakes}");
    println!("recall {recall:.3}, refused {refused:.3}");
    insta::assert_snapshot!(mistakes);
}

/// Written by somebody who had seen neither rules nor halves, after all of them were there; rules were mended for it later.
#[test]
fn corpus_e() {
    let (recall, refused, mistakes) = measure("e");
    println!("{mistakes}");
    println!("recall {recall:.3}, refused {refused:.3}");
    assert!(refused < 0.01, "{mistakes}");
    insta::assert_snapshot!(mistakes);
}

/// Written after the rules had been mended for half E, by somebody who had seen neither rules nor halves; its first figures are in docs/checks.md.
#[test]
fn corpus_f() {
    let (recall, refused, mistakes) = measure("f");
    println!("{mistakes}");
    println!("recall {recall:.3}, refused {refused:.3}");
    insta::assert_snapshot!(mistakes);
}

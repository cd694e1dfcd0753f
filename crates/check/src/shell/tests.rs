//! Plain lines are read as the grammar reads them.

use super::parse;
use super::{read, read_by_grammar};
use crate::rules;
use model::Language;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Shell programs of the corpus.
fn programs() -> Vec<String> {
    let mut all = Vec::new();
    for half in ["a", "b", "c", "d", "e"] {
        for label in ["ordinary", "harmful"] {
            let path = format!("{}/corpus/{half}-{label}.txt", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            all.extend(
                text.split("#### ").filter_map(|program| program.strip_prefix("bash\n")).map(str::to_owned),
            );
        }
    }
    assert!(all.len() > 200);
    all
}

/// Whether a program is read plainly, in whole or part; fails if the grammar reads something else in it.
fn is_read_alike(source: &str) -> bool {
    let (tree, _) = parse::by_grammar(source).unwrap();
    if tree.joins_lines(source, 0) {
        return false;
    }
    let (plainly, by_grammar) = (read(source).unwrap(), read_by_grammar(source).unwrap());
    assert_eq!(format!("{plainly:#?}"), format!("{by_grammar:#?}"), "{source}");
    parse::by_lines(source).is_some_and(|(_, plain_bytes)| plain_bytes > 0)
}

#[test]
fn programs_of_the_corpus_are_read_as_by_the_grammar() {
    let all = programs();
    let plain = all.iter().filter(|program| is_read_alike(program)).count();
    assert!(plain * 10 > all.len() * 8, "{plain} of {}", all.len());
    // Many in one are cut where the next begins.
    let ordered = all.chunks(7).filter(|some| is_read_alike(&some.join("\n"))).count();
    assert!(ordered > 5, "{ordered}");
}

/// Also of those of which the grammar takes lines together: what is found in them is the same.
#[test]
fn programs_of_the_corpus_have_the_findings_that_they_have_by_the_grammar() {
    let mut found = 0;
    for program in programs() {
        let plainly = rules::apply(read(&program).unwrap(), Language::Bash);
        let by_grammar = rules::apply(read_by_grammar(&program).unwrap(), Language::Bash);
        assert_eq!(plainly, by_grammar, "{program}");
        found += usize::from(!plainly.is_empty() && parse::by_lines(&program).is_some());
    }
    assert!(found > 100, "{found}");
}

/// What functions are given, loops go through and substitutions print is in these trees.
#[test]
fn values_are_followed_alike() {
    for (source, word) in [
        ("f() { rm -rf \"$1\"/; }\nf /etc\n", "/etc/"),
        ("f() { \"$@\"; }\nf rm /x y\n", "/x"),
        ("for d in a /srv ~/.ssh; do cat $d/x; done\n", "/srv/x"),
        ("for d in $all /srv{1,2}\ndo\n cat \"$d\"\ndone\n", "/srv{1,2}"),
        ("a=(-r /x)\na+=(/y)\nrm ${a[@]} # all\n", "/y"),
        ("a=\"-r /x\"\na+=\" /y\"\nrm $a\n", "/y"),
        ("x=$(echo cte/ | rev)\ncat $x\n", "/etc"),
        ("x=$(\n# it\necho /etc)\ncat $x\n", "/etc"),
        ("x=$(base64 -d <<< L2V0Yw==); cat $x\n", "/etc"),
        ("x=$(printf '%s' /e tc)\ncat ${x}/a\n", "/etc/a"),
        ("x=$(echo a | base64 -d)\neval $x\n", "base64"),
    ] {
        let facts = read(source).unwrap();
        assert_eq!(format!("{facts:#?}"), format!("{:#?}", read_by_grammar(source).unwrap()), "{source}");
        let plain_bytes = parse::by_lines(source).map(|(_, plain_bytes)| plain_bytes);
        assert_eq!(plain_bytes, Some(source.len()), "{source}");
        let last = facts.commands.iter().map(|command| (&command.words, &command.fed_by));
        let mut words = last.flat_map(|(words, programs)| words.iter().chain(programs));
        assert!(words.any(|said| said == word), "{source} {:#?}", facts.commands);
    }
}

#[test]
fn a_line_is_not_taken_for_words_of_the_one_before() {
    let source = "ps | sort | head -3\nrm -rf / || true\n";
    let (tree, _) = parse::by_grammar(source).unwrap();
    assert!(tree.joins_lines(source, 0), "the grammar has been mended: so may these tests be");
    let commands = read(source).unwrap().commands;
    let programs: Vec<&str> = commands.iter().map(crate::facts::Command::program).collect();
    assert_eq!(programs, ["ps", "sort", "head", "rm", "true"]);
}

/// The same programs in each run: what the two read differently in one of some ten thousand is written into this test or mended.
#[test]
fn damaged_programs_are_read_as_by_the_grammar() {
    let lines: Vec<String> = programs()
        .iter()
        .flat_map(|program| program.lines())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    let change = (0..200_usize, 0..4_usize, prop::sample::select(PIECES));
    let some = prop::collection::vec(prop::sample::select(lines), 1..6);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let plain = std::cell::Cell::new(0);
    let all = (some, prop::collection::vec(change, 0..4));
    runner
        .run(&all, |(some, changes)| {
            let mut text: Vec<char> = some.join("\n").chars().collect();
            for (at, taken, piece) in changes {
                let at = at.min(text.len());
                let end = (at + taken).min(text.len());
                text.splice(at..end, piece.chars());
            }
            plain.set(plain.get() + usize::from(is_read_alike(&text.into_iter().collect::<String>())));
            Ok(())
        })
        .unwrap();
    assert!(plain.get() > 400, "{}", plain.get());
}

#[test]
fn pieces_in_any_order_are_read_as_by_the_grammar() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let plain = std::cell::Cell::new(0);
    runner
        .run(&prop::collection::vec(prop::sample::select(PIECES), 1..14), |pieces| {
            plain.set(plain.get() + usize::from(is_read_alike(&pieces.concat())));
            Ok(())
        })
        .unwrap();
    assert!(plain.get() > 40, "{}", plain.get());
}

/// A cut between lines goes through nothing that takes several.
#[test]
fn what_takes_several_lines_is_read_whole() {
    for (open, close) in [
        ("cat <<EOF", "EOF"),
        ("cat <<'EOF' | sh", "EOF"),
        ("cat <<-EOF > f", "\tEOF"),
        ("cat <<A <<B", "A\nx\nB"),
        ("echo '", "'"),
        ("echo \"", "\""),
        ("if true; then", "fi"),
        ("f() {", "}"),
        ("while true; do", "done"),
        ("(", ")"),
        ("x=$(", ")"),
        ("case a in b)", ";;\nesac"),
        ("a=`", "`"),
        ("select x in a; do", "done"),
        ("cat <<EOF", ""),
        ("echo \\", ""),
        ("a |", ""),
        ("a &&", ""),
    ] {
        let source = format!("true\n{open}\nrm -rf /x\n\necho a\n{close}\ntrue\n");
        let (plainly, by_grammar) = (read(&source).unwrap(), read_by_grammar(&source).unwrap());
        assert_eq!(format!("{plainly:#?}"), format!("{by_grammar:#?}"), "{source}");
    }
}

const PIECES: &[&str] = &[
    "a",
    "b ",
    "echo ",
    "rm -rf ",
    "/x",
    "-1",
    "10",
    "$x",
    "${x}",
    "${x:-y}",
    "${x%.*}",
    "\"",
    "\"",
    "'",
    "'",
    "\"a $b\"",
    "'q'",
    " ",
    " ",
    " ",
    "\n",
    "\n",
    ";",
    "; ",
    "&",
    "&\n",
    "&& ",
    "|| ",
    "| ",
    "|",
    ">f",
    "> f ",
    "2>&1 ",
    "<f",
    ">>",
    "2>/dev/null",
    "(",
    ")",
    "{ ",
    "}",
    "; }",
    "[ ",
    "] ",
    "[ -f x ] ",
    "[ \"$a\" = b ]",
    "[[ ",
    "$(",
    "$(a)",
    "$((",
    "))",
    "$((1+a))",
    "if ",
    "; then ",
    "\nthen\n",
    "else ",
    "; fi",
    "fi\n",
    "for i in ",
    "for i in /a ~/.ssh; do cat $i; done",
    "f() { rm $1 \"$@\"; }\nf ",
    "$1",
    "\"$@\"",
    "x=$(",
    "x+=",
    "x+=(/b c)",
    "echo a | rev",
    "base64 -d <<< ",
    "eval $x",
    "# c\n",
    "; do ",
    "done",
    "done\n",
    "while ",
    "case $x in\n",
    "a) ",
    ";;\n",
    "esac",
    "x=",
    "x=1 ",
    "export ",
    "local a",
    "f() {",
    "#",
    " # c",
    "\\",
    "\\\n",
    "=",
    "==",
    "!",
    "! ",
    "*",
    "?",
    "~",
    "{}",
    "{a,b}",
    "[0-9]",
    "{1..3}",
    "%",
    "+",
    "-",
    "--",
    "-n",
    "`",
    "$",
    "$$",
    "$?",
    "$#",
    "$@",
    "<<",
    "<<<",
    "é",
    "\t",
    ",",
    "@",
    ":",
    ".",
    "^",
    "x[1]",
    "x=(a b)",
    "\n  ",
    "  $x",
    "\"  $x\"",
    "0>&1",
    "in",
    "do",
    "then",
    "((x<1)) ",
    "(( i++ )) ",
    "${a[@]}",
    "<(a b) ",
    "< <(a)",
];

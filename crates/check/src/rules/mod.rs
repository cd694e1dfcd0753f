//! The rules: their table, from `policy/check/rules.toml`, and what applies them.

mod flows;
mod nested;
mod networks;
mod packages;
mod pipes;
mod processes;
mod trees;

use crate::commands::{self, Verdict};
use crate::facts::{Command, Facts, UNKNOWN};
use crate::place;
use crate::shell;
use aho_corasick::{AhoCorasick, MatchKind};
use model::{CheckMode, CheckPolicy, Finding, Language, Severity};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

/// One rule, as the table has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name in findings.
    pub id: String,
    /// How much it weighs.
    pub severity: Severity,
    /// How much it weighs under the policy `strict`, if that is more.
    pub strict: Option<Severity>,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub advice: String,
    #[serde(default)]
    calls: Vec<String>,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    texts: Vec<String>,
    #[serde(default)]
    programs: Vec<String>,
}

/// Every rule, in the order of `policy/check/rules.toml`.
pub static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct Table {
        rule: Vec<Rule>,
    }
    let table: Table =
        toml::from_str(include_str!("../../../../policy/check/rules.toml")).expect("a test reads the table");
    table.rule
});

/// What rules look for, by what it is looked for in.
struct Index {
    calls: HashMap<&'static str, &'static str>,
    modules: HashMap<&'static str, &'static str>,
    programs: HashMap<&'static str, &'static str>,
    texts: AhoCorasick,
    /// For each text: its rule, and whether it is a path.
    owners: Vec<(&'static str, bool)>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let rules: &'static [Rule] = &RULES;
    let by = |list: fn(&'static Rule) -> &'static [String]| {
        rules
            .iter()
            .flat_map(|rule| list(rule).iter().map(|word| (word.as_str(), rule.id.as_str())))
            .collect()
    };
    let (mut words, mut owners) = (Vec::new(), Vec::new());
    for rule in rules {
        for (list, is_path) in [(&rule.paths, true), (&rule.texts, false)] {
            words.extend(list);
            owners.extend(list.iter().map(|_| (rule.id.as_str(), is_path)));
        }
    }
    Index {
        calls: by(|rule| &rule.calls),
        modules: by(|rule| &rule.modules),
        programs: by(|rule| &rule.programs),
        texts: AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostFirst)
            .build(words)
            .expect("the table is small"),
        owners,
    }
});

/// A rule, where it was found in bytes, and what was found.
pub type Found = (&'static str, usize, String);

/// What rules add to: at most one finding of a rule at a place.
pub struct Sink {
    found: Vec<Found>,
    seen: BTreeSet<(&'static str, usize)>,
}

impl Sink {
    /// Adds a finding.
    pub fn add(&mut self, rule: &'static str, at: usize, detail: impl Into<String>) {
        if self.seen.insert((rule, at)) {
            self.found.push((rule, at, detail.into()));
        }
    }
}

/// Longest text that is quoted in a finding.
const QUOTE_CHARS_MAX: usize = 80;
/// How often a shell is looked for inside a command, inside a command.
const SHELLS_MAX: usize = 3;
/// Most texts of a program that are read as shell programs, and how long they may be together.
const TEXTS_MAX: usize = 1000;
const TEXTS_BYTES_MAX: usize = 256 << 10;

/// Applies every rule; findings come in the order of the program.
pub fn apply(mut facts: Facts, language: Language) -> Vec<Found> {
    if language == Language::Bash {
        nested::read(&mut facts);
    }
    let mut bytes = 0;
    for (text, at, around) in processes::commands_of(&facts).into_iter().take(TEXTS_MAX) {
        bytes += text.len();
        if bytes > TEXTS_BYTES_MAX {
            break;
        }
        take_commands(&mut facts, &text, at, around, 0);
    }
    if language == Language::Bash {
        let handed = facts.commands.iter().filter_map(|command| Some((shell_text(command)?, command.at)));
        let inner: Vec<(String, usize)> = handed.take(TEXTS_MAX).collect();
        for (text, at) in inner {
            take_commands(&mut facts, &text, at, crate::facts::Around::Nothing, 1);
        }
    }
    let mut sink = Sink { found: Vec::new(), seen: BTreeSet::new() };
    if !facts.parsed {
        sink.add("program.unparsed", 0, "");
    }
    words(&facts, &mut sink);
    trees::apply(&facts, &mut sink);
    flows::apply(&facts, &mut sink);
    pipes::apply(&facts, &mut sink);
    processes::apply(&facts, &mut sink);
    packages::apply(&facts, language, &mut sink);
    for command in &facts.commands {
        let (verdict, rule) = commands::judge(command);
        match verdict {
            Verdict::Deny => sink.add("command.denied", command.at, rule),
            Verdict::Ask => sink.add("command.ask", command.at, rule),
            Verdict::Allow => {}
        }
    }
    sink.found.sort_by_key(|(_, at, _)| *at);
    sink.found
}

/// What `sh -c`, `bash -c` or `eval` is given.
fn shell_text(command: &Command) -> Option<String> {
    let words = command.inner();
    match command.program() {
        "sh" | "bash" | "zsh" | "dash" | "ksh" => {
            let at = words
                .iter()
                .position(|word| word.starts_with('-') && word.ends_with('c') && !word.starts_with("--"))?;
            Some(words.get(at + 1..)?.join(" "))
        }
        "eval" => Some(words.get(1..)?.join(" ")),
        "find" => {
            let at = words.iter().position(|word| matches!(word.as_str(), "-exec" | "-execdir" | "-ok"))?;
            let place = words.get(1).filter(|word| !word.starts_with('-')).map_or(".", String::as_str);
            // What it finds by name or age is a part of the tree, not all of it; in the whole of a system that is no part any more.
            let place = match selects(words) && !place::is_wide(place) {
                true => format!("{place}/{UNKNOWN}"),
                false => place.to_owned(),
            };
            let words =
                words.get(at + 1..)?.iter().filter(|word| !matches!(word.as_str(), "\\;" | ";" | "+"));
            Some(
                words
                    .map(|word| if word == "{}" { place.as_str() } else { word })
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        }
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

/// Whether a `find` asks for more than the kind of what it finds.
fn selects(words: &[String]) -> bool {
    const TESTS: [&str; 13] = [
        "-name",
        "-iname",
        "-path",
        "-ipath",
        "-wholename",
        "-regex",
        "-mtime",
        "-mmin",
        "-newer",
        "-size",
        "-empty",
        "-atime",
        "-ctime",
    ];
    words.windows(2).any(|pair| TESTS.contains(&pair[0].as_str()) && !matches!(pair[1].as_str(), "*" | "*.*"))
}

/// Whether a command only shows what it could change.
fn only_looks(command: &Command) -> bool {
    match command.program() {
        "mount" => command.operands().next().is_none(),
        "crontab" | "fdisk" | "parted" => command.has_option('l', "list"),
        "losetup" => command.has_option('a', "all") || command.has_option('l', "list"),
        _ => false,
    }
}

/// Adds the commands of a text that is handed to a shell; all are said to be at `at`.
fn take_commands(facts: &mut Facts, text: &str, at: usize, around: crate::facts::Around, depth: usize) {
    let Ok(inner) = shell::read(text.split('\0').next().unwrap_or(text)) else { return };
    for mut command in inner.commands.into_iter().take(256) {
        command.at = at;
        command.around = command.around.max(around);
        if depth < SHELLS_MAX
            && let Some(text) = shell_text(&command)
        {
            take_commands(facts, &text, at, around, depth + 1);
        }
        facts.commands.push(command);
    }
    facts.endless.extend(inner.endless.iter().map(|_| crate::facts::Endless { at }));
    facts.texts.extend(inner.texts.into_iter().map(|(text, _)| (text, at)));
}

/// What the table alone says.
fn words(facts: &Facts, sink: &mut Sink) {
    for call in &facts.calls {
        if let Some(rule) = INDEX.calls.get(call.name.as_str()) {
            sink.add(rule, call.at, quote(&call.name));
        }
    }
    for (module, at) in &facts.modules {
        let top = module.split('.').next().unwrap_or(module);
        if let Some(rule) = INDEX.modules.get(module.as_str()).or_else(|| INDEX.modules.get(top)) {
            sink.add(rule, *at, quote(module));
        }
    }
    for command in &facts.commands {
        let program = command.program();
        let family = program.split_once('.').map(|(name, _)| format!("{name}.*")).unwrap_or_default();
        let rule = INDEX.programs.get(program).or_else(|| INDEX.programs.get(family.as_str()));
        if let Some(rule) = rule.filter(|_| !only_looks(command)) {
            sink.add(rule, command.at, quote(program));
        }
        for word in command.words.iter().chain(command.redirects.iter().map(|redirect| &redirect.target)) {
            word_in(word, command.at, sink);
        }
    }
    for (text, at) in &facts.texts {
        word_in(text, *at, sink);
    }
    for call in facts.calls.iter().filter(|call| !call.receiver.text.is_empty()) {
        word_in(&call.receiver.text, call.at, sink);
        for value in call.values().filter(|value| value.text.contains('/')) {
            word_in(&value.text, call.at, sink);
        }
    }
}

fn word_in(text: &str, at: usize, sink: &mut Sink) {
    let is_word = !text.contains([' ', '\n', '\t']) && text.len() < 300;
    for found in INDEX.texts.find_iter(text).take(8) {
        let (rule, is_path) = INDEX.owners[found.pattern().as_usize()];
        let says_blank = || text.len() < 300 && text[found.range()].contains(' ');
        if (is_word || !is_path || says_blank()) && stands_alone(text, found.range(), is_path) {
            sink.add(rule, at, quote(text));
        }
    }
}

/// Whether what was found is a word or a part of a path, and not a piece of another word: `oast.` is none in `toast.`.
fn stands_alone(text: &str, range: std::ops::Range<usize>, is_path: bool) -> bool {
    let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    let bytes = text.as_bytes();
    let before = range.start.checked_sub(1).and_then(|at| bytes.get(at));
    let (first, last) = (bytes.get(range.start), range.end.checked_sub(1).and_then(|at| bytes.get(at)));
    let begins = match first {
        // A name that begins with a dot begins a part of a path.
        Some(b'.') if is_path => before.is_none_or(|byte| matches!(byte, b'/' | b'\\' | b'=' | b':' | b'~')),
        // A path from the root begins there; `/proc/sys/kernel` is not `/sys/kernel`.
        Some(b'/')
            if is_path
                && bytes[range.start + 1..range.end].contains(&b'/')
                && bytes.get(range.start + 1) != Some(&b'.') =>
        {
            !before.is_some_and(u8::is_ascii_alphanumeric)
        }
        _ => !letter(first) || !before.is_some_and(u8::is_ascii_alphanumeric),
    };
    begins && (!letter(last) || !letter(bytes.get(range.end)))
}

/// A piece of the program, as a finding shows it: one line, nothing that a terminal would obey, not too long.
pub fn quote(text: &str) -> String {
    let shown = text.chars().take(QUOTE_CHARS_MAX).map(|c| match c {
        UNKNOWN => '…',
        c if c.is_control() => ' ',
        c => c,
    });
    let more = if text.chars().nth(QUOTE_CHARS_MAX).is_some() { "…" } else { "" };
    format!("`{}{more}`", shown.collect::<String>())
}

fn row(rule: &str) -> &'static Rule {
    RULES.iter().find(|row| row.id == rule).expect("a test finds every rule in the table")
}

impl Rule {
    /// How much it weighs under a policy.
    pub fn severity_by(&self, policy: CheckPolicy) -> Severity {
        match (policy, self.strict) {
            (CheckPolicy::Strict, Some(severity)) => severity,
            _ => self.severity,
        }
    }
}

/// A finding of a rule of the table, which weighs so much and has this verdict.
pub fn finding(
    rule: &str,
    (severity, verdict): (Severity, CheckMode),
    (line, column): (u32, u32),
    detail: &str,
) -> Finding {
    let row = row(rule);
    let reason = if detail.is_empty() { row.reason.clone() } else { format!("{}: {detail}", row.reason) };
    Finding { rule: row.id.clone(), severity, verdict, line, column, reason, advice: row.advice.clone() }
}

//! Rules for shell commands: allow, ask or deny, as AIGNE's BashAgent has them, on the commands of the parse tree instead of on text.

use crate::facts::{Command, last_part};
use crate::shell;
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::LazyLock;

/// What a rule says of a command; the strictest wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may run.
    #[default]
    Allow,
    /// A person is asked first.
    Ask,
    /// It does not run.
    Deny,
}

/// Lists of rules: each is the first words of a command, a `*` at the end of a word stands for its rest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandRules {
    /// What is said of commands that no rule names.
    pub default: Verdict,
    /// Refused.
    pub deny: Vec<Vec<String>>,
    /// Asked for.
    pub ask: Vec<Vec<String>>,
    /// Allowed, where the default is not.
    pub allow: Vec<Vec<String>>,
}

/// The rules of `policy/check/commands.toml`.
pub static COMMAND_RULES: LazyLock<CommandRules> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../policy/check/commands.toml")).expect("a test reads the table")
});

/// The programs that they name; none if a rule may be of any.
static NAMED: LazyLock<Option<HashSet<&'static str>>> = LazyLock::new(|| {
    let rules: &'static CommandRules = &COMMAND_RULES;
    let lists = [&rules.deny, &rules.ask, &rules.allow];
    lists
        .into_iter()
        .flatten()
        .map(|rule| Some(rule.first()?.as_str()).filter(|word| !word.ends_with('*')))
        .collect()
});

impl CommandRules {
    /// The verdict on one command, and the rule that gave it.
    pub fn judge(&self, command: &Command) -> (Verdict, String) {
        let (words, inner) = (command.words.as_slice(), command.inner());
        let lists = [(Verdict::Deny, &self.deny), (Verdict::Ask, &self.ask), (Verdict::Allow, &self.allow)];
        for (verdict, rules) in lists {
            let matches =
                |rule: &&Vec<String>| begins(words, rule) || command.wrappers > 0 && begins(inner, rule);
            if let Some(rule) = rules.iter().find(matches) {
                return (verdict, format!("`{}`", rule.join(" ")));
            }
        }
        (self.otherwise(command), String::new())
    }

    /// What is said of a command that no rule names.
    fn otherwise(&self, command: &Command) -> Verdict {
        if command.words.is_empty() { Verdict::Allow } else { self.default }
    }

    /// The verdict on a whole program: the strictest of its commands'. One that cannot be parsed whole is asked for at least.
    pub fn judge_program(&self, source: &str) -> Verdict {
        if source.contains('\0') {
            return Verdict::Deny;
        }
        let Ok(facts) = shell::read(source) else { return Verdict::Deny };
        let judged = facts.commands.iter().map(|command| self.judge(command).0).max().unwrap_or_default();
        if facts.parsed { judged } else { judged.max(Verdict::Ask) }
    }
}

/// The verdict of `policy/check/commands.toml` on one command.
pub fn judge(command: &Command) -> (Verdict, String) {
    let is_named = |named: &HashSet<&str>| {
        let firsts = [command.words.first(), command.inner().first()];
        firsts.into_iter().flatten().any(|word| named.contains(last_part(word, b'/')))
    };
    // Most commands are of no rule.
    if NAMED.as_ref().is_some_and(|named| !is_named(named)) {
        return (COMMAND_RULES.otherwise(command), String::new());
    }
    COMMAND_RULES.judge(command)
}

fn begins(words: &[String], rule: &[String]) -> bool {
    let fits = |(index, (word, wanted)): (usize, (&String, &String))| {
        let word = if index == 0 { last_part(word, b'/') } else { word };
        let open = wanted.strip_suffix('*').filter(|rest| !rest.is_empty() && *rest != "/");
        open.map_or(word == wanted, |begin| word.starts_with(begin))
    };
    // Most rules are told apart by the last letter of their first word.
    let maybe = |word: &String, wanted: &String| {
        wanted.ends_with('*') || word.as_bytes().last() == wanted.as_bytes().last()
    };
    words.len() >= rule.len()
        && words.iter().zip(rule).take(1).all(|(word, wanted)| maybe(word, wanted))
        && words.iter().zip(rule).enumerate().all(fits)
}

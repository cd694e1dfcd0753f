//! From what the settings, a tenant's record and a request say to one verdict for each rule. Pure.
//!
//! Each is a layer ([`CheckPatch`]) over those before it: of a rule the last layer that names it decides, by the exact id or else the
//! longest beginning; a rule that none names has what mode and policy give it. A layer that is enforced is a floor as well: whatever
//! comes after it, no rule has less than it had there.

use crate::refuses;
use crate::rules::{RULES, Rule};
use model::{CheckMode, CheckPatch, CheckPolicy, Language, Rejection, Severity};

/// The rule that tells of a request for less than is enforced; nobody has a say in it.
pub const ENFORCED: &str = "check.enforced";

/// What is done about findings of each rule: complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    asked: Standing,
    floors: Vec<Standing>,
    /// Rules that the request, which is the last layer, has a say in.
    touched: Vec<bool>,
    /// Whether it says something of all of them.
    touched_all: bool,
}

/// What is said of rules so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    mode: CheckMode,
    policy: CheckPolicy,
    /// By the order of [`RULES`]; shorter is as if the rest were `None`.
    named: Vec<Option<CheckMode>>,
}

impl Verdicts {
    /// Those of a policy alone: what it refuses is denied.
    pub fn of_policy(policy: CheckPolicy) -> Self {
        let asked = Standing { mode: CheckMode::Deny, policy, named: Vec::new() };
        Self { asked, floors: Vec::new(), touched: Vec::new(), touched_all: false }
    }

    /// Those of layers, the request's last. A rule that is not there is a rejection whose field is `field` and what was said.
    pub fn of(before: &[&CheckPatch], request: &CheckPatch, field: &str) -> Result<Self, Rejection> {
        let (mut asked, mut floors) = (Standing::default(), Vec::new());
        for layer in before {
            let own = named(layer, field)?;
            asked = asked.under(layer, &own);
            if layer.enforce {
                // Who speaks of single rules only enforces nothing of the others.
                let speaks_of_all = layer.mode.is_some() || layer.policy.is_some();
                let alone = || Standing { mode: CheckMode::Off, policy: asked.policy, named: own };
                floors.push(if speaks_of_all { asked.clone() } else { alone() });
            }
        }
        let own = named(request, field)?;
        let touched = own.iter().map(Option::is_some).collect();
        let touched_all = request.mode.is_some() || request.policy.is_some();
        Ok(Self { asked: asked.under(request, &own), floors, touched, touched_all })
    }

    /// The policy that findings are looked for by, as it was asked for.
    pub fn policy(&self) -> CheckPolicy {
        self.asked.policy
    }

    /// What is done about findings of the rule at this place of [`RULES`].
    pub(crate) fn of_rule(&self, index: usize, language: Language) -> CheckMode {
        self.all().map(|one| one.of_rule(index, language)).max().unwrap_or_default()
    }

    /// What is done about AgentRun's refusal.
    pub(crate) fn of_agentrun(&self, language: Language) -> CheckMode {
        self.all().map(|one| one.of_agentrun(language)).max().unwrap_or_default()
    }

    /// How much a rule weighs under the strictest policy of all that hold.
    pub(crate) fn severity(&self, rule: &Rule) -> Severity {
        self.all().map(|one| rule.severity_by(one.policy)).max().unwrap_or(rule.severity)
    }

    /// Whether nothing is looked for, so that a program need not be read.
    pub fn is_off(&self, language: Language) -> bool {
        self.of_agentrun(language) == CheckMode::Off
            && !self.looks_for_rules(language)
            && !self.loosens(language)
    }

    /// Whether rules of the table are looked for.
    pub(crate) fn looks_for_rules(&self, language: Language) -> bool {
        (0..RULES.len()).any(|index| self.of_rule(index, language) != CheckMode::Off)
    }

    /// Whether the request says less of something than is enforced.
    pub(crate) fn loosens(&self, language: Language) -> bool {
        let touched =
            |index: usize| self.touched_all || self.touched.get(index).is_some_and(|touched| *touched);
        let is_less = |index| self.asked.of_rule(index, language) < self.of_rule(index, language);
        let agentrun = self.asked.of_agentrun(language) < self.of_agentrun(language);
        self.touched_all && agentrun || (0..RULES.len()).any(|index| touched(index) && is_less(index))
    }

    fn all(&self) -> impl Iterator<Item = &Standing> {
        std::iter::once(&self.asked).chain(&self.floors)
    }
}

impl Standing {
    /// The same under one layer more, which names rules so.
    fn under(&self, layer: &CheckPatch, own: &[Option<CheckMode>]) -> Self {
        // Who turns the check off means what others said of single rules, too.
        let forgets = layer.mode == Some(CheckMode::Off);
        let before = |index: usize| self.named.get(index).copied().flatten().filter(|_| !forgets);
        Self {
            mode: layer.mode.unwrap_or(self.mode),
            policy: layer.policy.unwrap_or(self.policy),
            named: own.iter().enumerate().map(|(index, own)| own.or_else(|| before(index))).collect(),
        }
    }

    fn of_rule(&self, index: usize, language: Language) -> CheckMode {
        let rule = &RULES[index];
        if rule.id == ENFORCED {
            return CheckMode::Off;
        }
        if let Some(named) = self.named.get(index).copied().flatten() {
            return named;
        }
        if self.is_agentruns(language) {
            return CheckMode::Off;
        }
        let is_denied = self.mode == CheckMode::Deny && refuses(self.policy, rule.severity_by(self.policy));
        if is_denied { CheckMode::Deny } else { self.mode.min(CheckMode::Warn) }
    }

    fn of_agentrun(&self, language: Language) -> CheckMode {
        if self.is_agentruns(language) { self.mode } else { CheckMode::Off }
    }

    fn is_agentruns(&self, language: Language) -> bool {
        self.policy == CheckPolicy::Agentrun && language == Language::Python
    }
}

/// What a layer says of each rule, in the order of [`RULES`].
fn named(layer: &CheckPatch, field: &str) -> Result<Vec<Option<CheckMode>>, Rejection> {
    let mut best: Vec<Option<(usize, CheckMode)>> = vec![None; RULES.len()];
    for (said, mode) in &layer.rules {
        let mut is_known = false;
        for (rule, best) in RULES.iter().zip(&mut best).filter(|(rule, _)| rule.id != ENFORCED) {
            // An exact id is longer than any beginning of it with its star.
            let weight = match said.strip_suffix('*') {
                Some(beginning) if rule.id.starts_with(beginning) => beginning.len(),
                None if rule.id == *said => usize::MAX,
                _ => continue,
            };
            is_known = true;
            if best.is_none_or(|(other, _)| weight >= other) {
                *best = Some((weight, *mode));
            }
        }
        if !is_known {
            return Err(unknown(said, field));
        }
    }
    Ok(best.into_iter().map(|best| best.map(|(_, mode)| mode)).collect())
}

/// Says whether every rule that is named is there; else a rejection as of [`Verdicts::of`].
pub fn check_names(patch: &CheckPatch, field: &str) -> Result<(), Rejection> {
    named(patch, field).map(drop)
}

/// Most of a word that is not there that is told, and compared.
const WORD_CHARS_MAX: usize = 60;

fn unknown(said: &str, field: &str) -> Rejection {
    let word: String = said.chars().filter(|c| !c.is_control()).take(WORD_CHARS_MAX).collect();
    let groups =
        RULES.iter().filter_map(|rule| rule.id.split_once('.').map(|(group, _)| format!("{group}.*")));
    let ids = RULES.iter().map(|rule| rule.id.clone()).filter(|id| id != ENFORCED);
    let nearest =
        ids.chain(groups.filter(|_| word.ends_with('*'))).min_by_key(|known| distance(&word, known));
    let hint = format!(
        "the nearest is {:?}; ids are in policy/check/rules.toml, and `*` at the end stands for the rest of one",
        nearest.unwrap_or_default()
    );
    Rejection::new(format!("{field}.{word}"), format!("there is no rule {word:?}"), hint)
}

/// How many letters are to be put in, left out or changed to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_by;
    use proptest::prelude::*;

    const TREE: &str = "import shutil\nshutil.rmtree('/')";
    const SOCKET: &str = "import socket\nprint(1)";

    fn rules(said: &[(&str, CheckMode)]) -> CheckPatch {
        let rules = said.iter().map(|(rule, mode)| ((*rule).to_owned(), *mode)).collect();
        CheckPatch { rules, ..CheckPatch::default() }
    }

    fn mode(mode: CheckMode) -> CheckPatch {
        CheckPatch { mode: Some(mode), ..CheckPatch::default() }
    }

    /// Each rule that was noticed in `source`, with its verdict.
    fn noticed(source: &str, before: &[&CheckPatch], request: &CheckPatch) -> Vec<(String, CheckMode)> {
        let verdicts = Verdicts::of(before, request, "check_rules").unwrap();
        let report = check_by(source, Language::Python, &verdicts);
        assert_eq!(report.refused, report.findings.iter().any(|finding| finding.verdict == CheckMode::Deny));
        assert!(!verdicts.is_off(Language::Python) || report.findings.is_empty());
        report.findings.into_iter().map(|finding| (finding.rule, finding.verdict)).collect()
    }

    fn one(rule: &str, verdict: CheckMode) -> Vec<(String, CheckMode)> {
        vec![(rule.to_owned(), verdict)]
    }

    #[test]
    fn a_rule_that_is_named_has_its_own_verdict_whatever_the_mode() {
        use CheckMode::{Deny, Off, Warn};
        let nothing = CheckPatch::default();
        assert_eq!(noticed(TREE, &[], &nothing), one("tree.destroy", Warn));
        assert_eq!(noticed(TREE, &[], &rules(&[("tree.destroy", Deny)])), one("tree.destroy", Deny));
        assert_eq!(noticed(TREE, &[], &rules(&[("tree.*", Deny)])), one("tree.destroy", Deny));
        assert!(noticed(TREE, &[], &rules(&[("*", Off)])).is_empty());
        assert_eq!(noticed(SOCKET, &[], &rules(&[("network.used", Deny)])), one("network.used", Deny));
        let off = CheckPatch { mode: Some(Off), ..rules(&[("network.*", Deny)]) };
        assert_eq!(noticed(SOCKET, &[], &off), one("network.used", Deny));
        assert!(noticed(TREE, &[], &off).is_empty());
        let deny = CheckPatch { mode: Some(Deny), ..rules(&[("tree.destroy", Warn)]) };
        assert_eq!(noticed(TREE, &[], &deny), one("tree.destroy", Warn));
        assert_eq!(noticed(TREE, &[], &mode(Deny)), one("tree.destroy", Deny));
    }

    #[test]
    fn an_exact_id_comes_before_a_beginning_and_a_longer_one_before_a_shorter() {
        use CheckMode::{Deny, Off, Warn};
        let said = rules(&[("*", Off), ("net*", Warn), ("network.*", Deny), ("network.used", Off)]);
        let verdicts = Verdicts::of(&[], &said, "").unwrap();
        let of = |id: &str| {
            let index = RULES.iter().position(|rule| rule.id == id).unwrap();
            verdicts.of_rule(index, Language::Bash)
        };
        assert_eq!((of("network.used"), of("network.scan"), of("miner")), (Off, Deny, Off));
    }

    #[test]
    fn the_last_layer_that_names_a_rule_decides_and_off_forgets_the_others() {
        use CheckMode::{Deny, Off, Warn};
        let settings = rules(&[("tree.destroy", Deny)]);
        let tenant = rules(&[("*", Warn)]);
        let nothing = CheckPatch::default();
        assert_eq!(noticed(TREE, &[&settings], &nothing), one("tree.destroy", Deny));
        assert_eq!(noticed(TREE, &[&settings, &tenant], &nothing), one("tree.destroy", Warn));
        assert_eq!(noticed(TREE, &[&settings], &mode(Warn)), one("tree.destroy", Deny));
        assert!(noticed(TREE, &[&settings], &mode(Off)).is_empty());
    }

    #[test]
    fn what_is_enforced_is_the_least_and_who_asks_for_less_is_told() {
        use CheckMode::{Deny, Off, Warn};
        let floor = CheckPatch { enforce: true, ..mode(Deny) };
        let told = |verdict| [one(ENFORCED, Warn), one("tree.destroy", verdict)].concat();
        for less in [mode(Off), mode(Warn), rules(&[("*", Warn)]), rules(&[("tree.destroy", Off)])] {
            assert_eq!(noticed(TREE, &[&floor], &less), told(Deny), "{less:?}");
            // The same where it is not enforced.
            assert!(!noticed(TREE, &[&mode(Deny)], &less).contains(&("tree.destroy".to_owned(), Deny)));
        }
        let nothing = CheckPatch::default();
        assert_eq!(noticed(TREE, &[&floor], &nothing), one("tree.destroy", Deny));
        assert_eq!(noticed(SOCKET, &[&floor], &rules(&[("network.used", Deny)])), one("network.used", Deny));
        assert_eq!(noticed(SOCKET, &[&floor], &rules(&[("network.used", Off)])).len(), 2);
        // Another tenant's word is no request: nobody who asked is told.
        assert_eq!(noticed(TREE, &[&floor, &mode(Off)], &nothing), one("tree.destroy", Deny));
        // Of single rules only those are held.
        let one_rule = CheckPatch { enforce: true, ..rules(&[("tree.destroy", Deny)]) };
        assert!(noticed(SOCKET, &[&one_rule], &rules(&[("network.*", Off)])).is_empty());
        assert_eq!(noticed(TREE, &[&one_rule], &mode(Off)), told(Deny));
    }

    #[test]
    fn a_policy_cannot_take_back_what_is_enforced() {
        use CheckMode::{Deny, Warn};
        let strict = CheckPatch { enforce: true, policy: Some(CheckPolicy::Strict), ..mode(Deny) };
        let lenient = CheckPatch { policy: Some(CheckPolicy::Default), ..CheckPatch::default() };
        let found = noticed(SOCKET, &[&strict], &lenient);
        assert_eq!(found, [one(ENFORCED, Warn), one("network.used", Deny)].concat());
        let agentrun = CheckPatch { policy: Some(CheckPolicy::Agentrun), ..CheckPatch::default() };
        let found = noticed("import shutil\nshutil.rmtree('/')\nopen('x')", &[&strict], &agentrun);
        let denied: Vec<_> =
            found.iter().filter(|(_, verdict)| *verdict == Deny).map(|(rule, _)| &**rule).collect();
        assert_eq!(denied, ["tree.destroy", "agentrun"]);
    }

    #[test]
    fn a_rule_that_is_not_there_is_rejected_with_the_nearest() {
        let wrong = |rule: &str| {
            Verdicts::of(&[], &rules(&[(rule, CheckMode::Off)]), "check_rules").unwrap_err().to_string()
        };
        insta::assert_snapshot!(wrong("tree.destory"), @r#"check_rules.tree.destory: there is no rule "tree.destory"; the nearest is "tree.destroy"; ids are in policy/check/rules.toml, and `*` at the end stands for the rest of one"#);
        insta::assert_snapshot!(wrong("netwrk.*"), @r#"check_rules.netwrk.*: there is no rule "netwrk.*"; the nearest is "network.*"; ids are in policy/check/rules.toml, and `*` at the end stands for the rest of one"#);
        for other in ["", "agentrun", "review", ENFORCED, "*.used", "tree.destroy*x", "tree.destroyed"] {
            wrong(other);
        }
        let long = wrong(&"x".repeat(1 << 20));
        assert!(long.len() < 400, "{long}");
    }

    fn any_patch() -> impl Strategy<Value = CheckPatch> {
        let modes = prop::sample::select(CheckMode::ALL.to_vec());
        let policies = prop::sample::select(CheckPolicy::ALL.to_vec());
        let words =
            ["*", "tree.destroy", "tree.*", "network.*", "network.used", "code.eval", "program.unchecked"];
        let words = prop::sample::select(words.to_vec());
        let rules = prop::collection::btree_map(words, modes.clone(), 0..4);
        (prop::option::of(modes), prop::option::of(policies), rules, any::<bool>()).prop_map(
            |(mode, policy, rules, enforce)| CheckPatch {
                mode,
                policy,
                rules: rules.into_iter().map(|(rule, mode)| (rule.to_owned(), mode)).collect(),
                enforce,
            },
        )
    }

    proptest! {
        /// Whatever comes after what is enforced, nothing has less than it had there.
        #[test]
        fn a_later_layer_only_tightens_what_is_enforced(
            before in any_patch(), floor in any_patch(), after in any_patch(), request in any_patch(),
        ) {
            let floor = CheckPatch { enforce: true, mode: Some(floor.mode.unwrap_or_default()), ..floor };
            let none = CheckPatch::default();
            for language in [Language::Python, Language::Bash] {
                let least = Verdicts::of(&[&before, &floor], &none, "").unwrap();
                let most = Verdicts::of(&[&before, &floor, &after], &request, "").unwrap();
                prop_assert!(most.of_agentrun(language) >= least.of_agentrun(language));
                for index in 0..RULES.len() {
                    prop_assert!(most.of_rule(index, language) >= least.of_rule(index, language));
                }
            }
        }
    }
}

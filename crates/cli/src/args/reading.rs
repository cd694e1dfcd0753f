//! Arguments about how code is read before it runs: the static check and the review.

use clap::Args;
use model::{CheckMode, CheckPatch, CheckPolicy, RunRequest};
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// How code is read before it runs; what is not said is as the service is set.
#[derive(Debug, Clone, Default, Args)]
pub struct ReadingArguments {
    /// What the static check does: off, warn (--json has its findings) or deny [default: as the service is set, else warn]
    #[arg(long, value_name = "MODE", value_parser = CheckMode::from_str)]
    pub check: Option<CheckMode>,
    /// default, strict or agentrun: which findings refuse a program [default: as the service is set]
    #[arg(long, value_name = "POLICY", value_parser = CheckPolicy::from_str)]
    pub check_policy: Option<CheckPolicy>,
    /// What is done about one rule of the check: tree.destroy=deny, 'network.*=off'; may be repeated
    #[arg(long = "check-rule", value_name = "ID=MODE", value_parser = check_rule)]
    pub check_rules: Vec<(String, CheckMode)>,
    /// Have the language model of the service (`model.name`) read code first; what it finds unsafe is not run
    #[arg(long)]
    pub review: bool,
}

/// What is done about one rule: `ID=MODE`. Whether there is such a rule is told by who checks.
pub fn check_rule(text: &str) -> Result<(String, CheckMode), String> {
    let (id, mode) = text.split_once('=').ok_or("expected ID=off, ID=warn or ID=deny")?;
    Ok((id.to_owned(), mode.parse()?))
}

impl ReadingArguments {
    /// What is said of the check.
    pub fn patch(&self) -> CheckPatch {
        CheckPatch {
            mode: self.check,
            policy: self.check_policy,
            rules: self.check_rules.iter().cloned().collect(),
            enforce: false,
        }
    }

    /// A request with this.
    pub fn on(&self, request: RunRequest) -> RunRequest {
        let CheckPatch { mode, policy, rules, .. } = self.patch();
        RunRequest { check: mode, check_policy: policy, check_rules: rules, review: self.review, ..request }
    }

    /// The fields of a request that are said by these.
    pub fn fields(&self) -> Map<String, Value> {
        let CheckPatch { mode, policy, rules, .. } = self.patch();
        let said = [
            ("check", mode.map(|mode| json!(mode))),
            ("check_policy", policy.map(|policy| json!(policy))),
            ("check_rules", (!rules.is_empty()).then(|| json!(rules))),
            ("review", self.review.then(|| json!(true))),
        ];
        said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

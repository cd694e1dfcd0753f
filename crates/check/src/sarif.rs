//! Reports as SARIF 2.1.0 (OASIS), which code hosts and editors show beside the code.

use crate::{RULES, Report, Rule};
use model::{CheckPolicy, Severity};
use serde_json::{Value, json};

/// A report of the program `name`, as one SARIF log.
pub fn log(report: &Report, name: &str, policy: CheckPolicy) -> Value {
    let rules: Vec<Value> = RULES.iter().map(rule).collect();
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            let mut result = json!({
                "ruleId": finding.rule,
                "level": level(finding.severity),
                "message": {"text": format!("{}. {}.", finding.reason, finding.advice)},
                "properties": {"verdict": finding.verdict.name()},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": uri(name)},
                        "region": {"startLine": finding.line, "startColumn": finding.column},
                    },
                }],
            });
            if let Some(index) = RULES.iter().position(|rule| rule.id == finding.rule) {
                result["ruleIndex"] = json!(index);
            }
            result
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "fireclay",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            // Columns count characters of Unicode.
            "columnKind": "unicodeCodePoints",
            "properties": {"policy": policy.name(), "refused": report.refused},
            "results": results,
        }],
    })
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.reason},
        "help": {"text": rule.advice},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "note",
        Severity::Medium => "warning",
        Severity::High => "error",
    }
}

/// A file name as a relative reference of RFC 3986.
fn uri(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let name = if name == "-" { "stdin" } else { name };
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

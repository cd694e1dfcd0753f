//! A task's end in the formats that programs read.

use agent::{End, Ended, Redactor, Solution};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How a task ended.
pub struct Report<'a> {
    /// How.
    pub ended: &'a Ended,
    /// The program that was found.
    pub solution: Option<&'a Solution>,
    /// Who was asked.
    pub model: String,
    /// Knows the keys.
    pub redactor: &'a Redactor,
}

impl Report<'_> {
    /// The answer as people read it at a prompt, with a line end.
    pub fn text(&self) -> String {
        let text = match (self.solution, &self.ended.end) {
            (Some(solution), _) => {
                format!(
                    "{}\n\n{}\n{}",
                    solution.prefix.trim(),
                    solution.program(),
                    solution.output.trim_end()
                )
            }
            (None, End::Answered(answer)) => answer.clone(),
            (None, _) => String::new(),
        };
        format!("{}\n", self.redactor.redact(&text))
    }

    /// All of it.
    pub fn value(&self) -> Value {
        let (outcome, answer, error, limit) = match &self.ended.end {
            End::Answered(answer) => ("answered", Some(self.redactor.redact(answer)), None, None),
            End::Exceeded(limit) => ("budget_exceeded", None, None, Some(limit.to_string())),
            End::Failed(why) => ("failed", None, Some(self.redactor.redact(why)), None),
            End::Stopped => ("stopped", None, None, None),
        };
        let spent = &self.ended.spent;
        let cost = (!spent.unpriced).then_some((spent.dollars * 1e6).round() / 1e6);
        let last = self.ended.last.as_ref().map(|(program, output)| {
            json!({"language": program.language, "code": self.redactor.redact(&program.code), "output": output})
        });
        json!({
            "outcome": outcome,
            "answer": answer,
            "error": error,
            "limit": limit,
            "solution": self.solution,
            "last": last,
            "model": self.model,
            "usage": {
                "turns": spent.turns,
                "runs": spent.runs,
                "input_tokens": spent.tokens.input,
                "cached_tokens": spent.tokens.cached,
                "output_tokens": spent.tokens.output,
                "cost_dollars": cost,
                "prices_as_of": agent::prices_as_of(),
            },
        })
    }
}

/// The value as YAML 1.2: blocks for what is nested, and JSON, which YAML has in it, for all else.
pub fn yaml(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let indent = "  ".repeat(depth);
        let nested = value.as_object().is_some_and(|fields| !fields.is_empty());
        // Writing to a string cannot fail.
        if nested {
            writeln!(out, "{indent}{name}:").expect("memory is there");
            block(value, depth + 1, out);
        } else {
            writeln!(out, "{indent}{name}: {value}").expect("memory is there");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_is_indented() {
        let value = json!({"a": "x: \"y\"\n", "b": {"c": null, "d": [1, "2"]}, "e": {}});
        assert_eq!(yaml(&value), "a: \"x: \\\"y\\\"\\n\"\nb:\n  c: null\n  d: [1,\"2\"]\ne: {}\n");
    }
}

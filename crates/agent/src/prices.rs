//! What tokens cost, from the table of `policy/prices.toml`, which says of what day it is. For budgets, not for bills.

use crate::conversation::Tokens;
use serde::Deserialize;
use std::sync::LazyLock;

/// The table as a reviewer reads it.
const TABLE: &str = include_str!("../../../policy/prices.toml");

/// Dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    input: f64,
    /// Those that the provider had cached; `input` if it says nothing.
    cached: Option<f64>,
    output: f64,
}

impl Price {
    /// A model on one's own machine.
    pub const NOTHING: Self = Self { input: 0.0, cached: None, output: 0.0 };

    /// What so many cost, in dollars.
    pub fn of(self, tokens: Tokens) -> f64 {
        let cached = tokens.cached.min(tokens.input);
        let sum = (tokens.input - cached) as f64 * self.input
            + cached as f64 * self.cached.unwrap_or(self.input)
            + tokens.output as f64 * self.output;
        sum / 1e6
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    models: Vec<String>,
    input: f64,
    cached: Option<f64>,
    output: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    as_of: String,
    price: Vec<Row>,
}

static PARSED: LazyLock<Table> =
    LazyLock::new(|| toml::from_str(TABLE).expect("the tests read the table that is compiled in"));

/// The day of the table, `YYYY-MM-DD`.
pub fn prices_as_of() -> &'static str {
    &PARSED.as_of
}

/// What so many tokens of a model cost, read and written, in dollars, if its price is known.
pub fn dollars(model: &str, input: u64, output: u64) -> Option<f64> {
    Some(of(model)?.of(Tokens { input, cached: 0, output }))
}

/// The price of a model. A name may have a vendor before it, and a date or `latest` after it.
pub fn of(model: &str) -> Option<Price> {
    let plain = |name: &str| name.rsplit('/').next().unwrap_or_default().to_lowercase().replace('.', "-");
    let model = plain(model);
    let fits = |name: &str| {
        let rest = model.strip_prefix(&plain(name));
        rest.is_some_and(|rest| {
            let date = rest.strip_prefix(['-', '@']);
            rest.is_empty() || date.is_some_and(|date| date == "latest" || is_date(date))
        })
    };
    let rows = PARSED.price.iter().filter(|row| row.models.iter().any(|name| fits(name)));
    rows.map(|row| Price { input: row.input, cached: row.cached, output: row.output }).next()
}

/// `20250929` or `2025-09-29`. Two digits would be a version.
fn is_date(text: &str) -> bool {
    text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_and_names_are_found() {
        assert_eq!(prices_as_of().len(), 10);
        let tokens = Tokens { input: 1_000_000, cached: 500_000, output: 100_000 };
        let cost = |model| of(model).map(|price| (price.of(tokens) * 1e4).round() / 1e4);
        assert_eq!(cost("gpt-4o-mini"), Some(0.1725));
        assert_eq!(cost("gpt-4o-mini-2024-07-18"), cost("gpt-4o-mini"));
        assert_eq!(cost("anthropic/claude-sonnet-4.5"), cost("claude-sonnet-4-5-20250929"));
        assert_ne!(cost("gpt-4o"), cost("gpt-4o-mini"));
        assert_eq!(cost("gpt-5-turbo-max"), None);
        assert_eq!(cost("my-own-model"), None);
    }
}

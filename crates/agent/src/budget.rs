//! How much a task may use, and what it has used. Kept outside of the model: nothing that it says moves these figures.

use crate::conversation::Tokens;
use crate::prices::Price;
use std::fmt;
use std::time::{Duration, Instant};

/// How much a task may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Answers of the model.
    pub turns: u32,
    /// Tokens, read and written, of all its requests.
    pub tokens: u64,
    /// Dollars, as far as the price of the model is known.
    pub dollars: f64,
    /// From the question to the answer, without what a person took to approve runs.
    pub time: Duration,
    /// Runs of code, and calls of tools of others.
    pub runs: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { turns: 25, tokens: 200_000, dollars: 1.0, time: Duration::from_secs(600), runs: 50 }
    }
}

/// A part of the budget that was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `turns`.
    Turns,
    /// `tokens`.
    Tokens,
    /// `dollars`.
    Cost,
    /// `time`.
    Time,
    /// `runs`.
    Runs,
}

impl Limit {
    /// The option of the command line that sets it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Turns => "--max-turns",
            Self::Tokens => "--max-tokens",
            Self::Cost => "--max-cost",
            Self::Time => "--max-time",
            Self::Runs => "--max-runs",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.option()["--max-".len()..])
    }
}

/// What a task has used.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Answers of the model; those of the reviewer cost tokens, but are no turns.
    pub turns: u32,
    /// Tokens of all requests.
    pub tokens: Tokens,
    /// Dollars of those requests whose price is known.
    pub dollars: f64,
    /// Whether the price of some request is not known.
    pub unpriced: bool,
    /// Runs of code.
    pub runs: u32,
    /// When it began.
    pub since: Instant,
}

impl Spent {
    /// Nothing, from now on.
    pub fn nothing() -> Self {
        Self {
            turns: 0,
            tokens: Tokens::default(),
            dollars: 0.0,
            unpriced: false,
            runs: 0,
            since: Instant::now(),
        }
    }

    /// Takes in the tokens of an answer.
    pub fn tokens(&mut self, tokens: Tokens, price: Option<Price>) {
        let sum = &mut self.tokens;
        sum.input = sum.input.saturating_add(tokens.input);
        sum.cached = sum.cached.saturating_add(tokens.cached);
        sum.output = sum.output.saturating_add(tokens.output);
        match price {
            Some(price) => self.dollars += price.of(tokens),
            None => self.unpriced = true,
        }
    }

    /// What stands against one more request.
    pub fn against_a_turn(&self, budget: &Budget) -> Option<Limit> {
        if self.turns >= budget.turns { Some(Limit::Turns) } else { self.against_a_request(budget) }
    }

    /// What stands against one more request that is no turn, as those of a review are.
    pub fn against_a_request(&self, budget: &Budget) -> Option<Limit> {
        if self.tokens.total() >= budget.tokens {
            Some(Limit::Tokens)
        } else if self.dollars > 0.0 && self.dollars >= budget.dollars {
            Some(Limit::Cost)
        } else {
            self.against_time(budget)
        }
    }

    /// What stands against one more run.
    pub fn against_a_run(&self, budget: &Budget) -> Option<Limit> {
        if self.runs >= budget.runs { Some(Limit::Runs) } else { self.against_time(budget) }
    }

    /// Whether time is up.
    pub fn against_time(&self, budget: &Budget) -> Option<Limit> {
        (self.since.elapsed() >= budget.time).then_some(Limit::Time)
    }

    /// When time is up.
    pub fn until(&self, budget: &Budget) -> Instant {
        // A budget of centuries is as good as one of a day.
        self.since + budget.time.min(Duration::from_secs(24 * 3600))
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |number: u32| if number == 1 { "" } else { "s" };
        write!(f, "{} turn{}, {} run{}", self.turns, plural(self.turns), self.runs, plural(self.runs))?;
        write!(f, ", {} tokens in, {} out", self.tokens.input, self.tokens.output)?;
        match (self.unpriced, self.dollars > 0.0) {
            (false, _) => write!(f, ", ${:.4}", self.dollars),
            (true, true) => write!(f, ", more than ${:.4}", self.dollars),
            (true, false) => write!(f, ", cost unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_ends_a_task_by_its_name() {
        let budget = Budget { turns: 2, tokens: 100, dollars: 0.001, runs: 1, ..Budget::default() };
        let mut spent = Spent::nothing();
        assert_eq!(spent.against_a_turn(&budget), None);
        spent.tokens(Tokens { input: 60, cached: 0, output: 41 }, None);
        assert_eq!(spent.against_a_turn(&budget).unwrap().to_string(), "tokens");
        spent.turns = 2;
        assert_eq!(spent.against_a_turn(&budget), Some(Limit::Turns));
        assert_eq!(spent.against_a_run(&budget), None);
        spent.runs = 1;
        assert_eq!(spent.against_a_run(&budget), Some(Limit::Runs));
        let mut spent = Spent::nothing();
        spent.turns = 1;
        spent.tokens(Tokens { input: 90, cached: 0, output: 9 }, crate::prices::of("gpt-4o"));
        assert_eq!(spent.against_a_turn(&Budget { dollars: 0.0001, ..budget }), Some(Limit::Cost));
        assert_eq!(spent.to_string(), "1 turn, 0 runs, 90 tokens in, 9 out, $0.0003");
        assert_eq!(spent.against_time(&Budget { time: Duration::ZERO, ..budget }), Some(Limit::Time));
    }
}

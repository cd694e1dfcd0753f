//! What the parameters of a program's own functions stand for: the arguments that the program itself calls them with.
//!
//! While a program is read, a parameter is a mark, one character of a private plane. When all of it is read, the calls are known, and
//! every mark becomes what was given for it. One pass over the tree and one over what was seen: linear, whoever calls whom.

use crate::facts::{Around, Call, Facts, UNKNOWN, Value, last_part};
use crate::place::weight;
use std::collections::HashMap;

/// Before the name of a function of the program, among the calls of a value: the value is that function.
pub const FUNCTION: char = '&';
/// The first mark.
const FIRST: u32 = 0xF_0000;
/// Most parameters that are looked at.
const SLOTS_MAX: usize = 4096;
/// Most values that are kept of one parameter.
const GIVEN_MAX: usize = 4;
/// Longest text of one that is kept.
const GIVEN_BYTES_MAX: usize = 256;
/// How many functions a value is followed through.
const ROUNDS: usize = 3;

/// The parameters of a program's functions.
#[derive(Debug, Default)]
pub struct Parameters {
    /// Of each function, by its bare name: its parameters' names and its first slot.
    functions: HashMap<String, (Vec<String>, usize)>,
    /// What was given for each.
    slots: Vec<Vec<Value>>,
}

impl Parameters {
    /// Takes note of a function; returns what stands for each of its parameters while its body is read.
    pub fn declare(&mut self, function: &str, names: &[String]) -> Vec<Value> {
        if self.slots.len() + names.len() > SLOTS_MAX || function.is_empty() {
            return names.iter().map(|_| Value::unknown()).collect();
        }
        let first = self.slots.len();
        self.slots.resize_with(first + names.len(), Vec::new);
        self.functions.insert(function.to_owned(), (names.to_vec(), first));
        (first..self.slots.len())
            .map(|slot| {
                let mark = mark(slot);
                let mut value = Value::text(mark);
                value.takes_calls([mark.to_string()]);
                value
            })
            .collect()
    }

    /// Says what a parameter is given when a call leaves it out.
    pub fn default(&mut self, function: &str, name: &str, value: Value) {
        self.give_named(function, name, &value);
    }

    /// Puts what was given for the parameters where their marks are.
    pub fn resolve(mut self, facts: &mut Facts) {
        if self.functions.is_empty() {
            return;
        }
        let mut endless: Vec<String> = Vec::new();
        for call in &facts.calls {
            let called = last_part(&call.name, b'.');
            if self.functions.contains_key(called) {
                if call.around == Around::Endless {
                    endless.push(called.to_owned());
                }
                call.args.iter().enumerate().for_each(|(index, value)| self.give(called, index, value));
                call.named.iter().for_each(|(name, value)| self.give_named(called, name, value));
            }
            self.hand_over(call);
        }
        // What a loop without end calls, happens without end.
        if !endless.is_empty() {
            for call in facts.calls.iter_mut().filter(|call| call.around == Around::Nothing) {
                if call.within.as_ref().is_some_and(|within| endless.contains(within)) {
                    call.around = Around::Endless;
                }
            }
        }
        let known = self.known();
        for call in &mut facts.calls {
            put(&mut call.receiver, &known);
            call.args.iter_mut().for_each(|value| put(value, &known));
            call.named.iter_mut().for_each(|(_, value)| put(value, &known));
        }
        for (text, _) in &mut facts.texts {
            if is_marked(text) {
                *text = without_marks(text, &known);
            }
        }
    }

    fn give(&mut self, function: &str, index: usize, value: &Value) {
        let Some((names, first)) = self.functions.get(function) else { return };
        if index < names.len() {
            keep(&mut self.slots[first + index], value);
        }
    }

    fn give_named(&mut self, function: &str, name: &str, value: &Value) {
        let Some((names, first)) = self.functions.get(function) else { return };
        if let Some(index) = names.iter().position(|own| own == name) {
            keep(&mut self.slots[first + index], value);
        }
    }

    /// A function that is given to another (`map(f, list)`, `Thread(target=f, args=(a,))`) is called with what is given beside it.
    fn hand_over(&mut self, call: &Call) {
        let function = |value: &Value| {
            value.calls.first().and_then(|from| from.strip_prefix(FUNCTION)).map(str::to_owned)
        };
        let Some(handed) = call.values().find_map(function) else { return };
        let others = call.values().filter(|value| function(value).is_none()).take(4);
        let others: Vec<Value> = others.map(|value| value.clone().each()).collect();
        others.iter().enumerate().for_each(|(index, value)| self.give(&handed, index, value));
    }

    /// What each parameter stands for: of its text the gravest that was given, of its calls all.
    fn known(&self) -> Vec<Value> {
        let best = |given: &Vec<Value>| {
            let grave = given.iter().max_by_key(|value| weight(&value.text));
            let mut value =
                grave.map_or_else(Value::unknown, |value| Value { calls: Vec::new(), ..value.clone() });
            given.iter().for_each(|one| value.takes_calls(one.calls.iter().cloned()));
            value
        };
        let mut known: Vec<Value> = self.slots.iter().map(best).collect();
        for _ in 0..ROUNDS {
            let before = known.clone();
            known.iter_mut().for_each(|value| put(value, &before));
        }
        known
    }
}

fn keep(slot: &mut Vec<Value>, value: &Value) {
    if slot.len() < GIVEN_MAX && value.text.len() <= GIVEN_BYTES_MAX {
        slot.push(value.clone());
    }
}

fn mark(slot: usize) -> char {
    u32::try_from(slot).ok().and_then(|slot| char::from_u32(FIRST + slot)).unwrap_or(UNKNOWN)
}

fn slot(c: char) -> Option<usize> {
    (FIRST..FIRST + SLOTS_MAX as u32).contains(&u32::from(c)).then(|| (u32::from(c) - FIRST) as usize)
}

/// Whether marks may be in a text: all of them begin with the same byte.
pub fn is_marked(text: &str) -> bool {
    text.as_bytes().contains(&0xF3)
}

fn without_marks(text: &str, known: &[Value]) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match slot(c) {
            Some(slot) => plain.push_str(known.get(slot).map_or("\u{fffd}", |value| &value.text)),
            None => plain.push(c),
        }
        if plain.len() > text.len() + GIVEN_BYTES_MAX * 4 {
            break;
        }
    }
    plain
}

fn put(value: &mut Value, known: &[Value]) {
    if !is_marked(&value.text) && !value.calls.iter().any(|from| is_marked(from)) {
        return;
    }
    let marks: Vec<usize> = value.calls.iter().filter_map(|from| slot(from.chars().next()?)).collect();
    if let Some(only) = value.text.chars().next().and_then(slot)
        && value.text.chars().nth(1).is_none()
        && let Some(given) = known.get(only)
    {
        (value.number, value.many) = (given.number, given.many);
    }
    if is_marked(&value.text) {
        value.text = Value::text(without_marks(&value.text, known)).text;
    }
    value.calls.retain(|from| from.chars().next().and_then(slot).is_none());
    for from in &mut value.calls {
        if is_marked(from) {
            *from = without_marks(from, known);
        }
    }
    for slot in marks {
        value.takes_calls(known.get(slot).into_iter().flat_map(|value| value.calls.iter().cloned()));
    }
}

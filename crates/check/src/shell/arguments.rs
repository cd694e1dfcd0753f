//! What the functions of a shell program are given: `$1`, `$@`. As [`crate::parameters`] for the other languages.

use crate::facts::{Command, Facts, UNKNOWN, wrappers};
use crate::place::weight;
use std::collections::HashMap;

/// The first mark.
const FIRST: u32 = 0xF_8000;
/// Arguments of a function that have a mark: `$@` and nine by their number.
const EACH_FUNCTION: usize = 10;
/// Most functions that are looked at.
const FUNCTIONS_MAX: usize = 400;
/// Longest argument that is kept.
const GIVEN_BYTES_MAX: usize = 256;
/// Most lists of arguments that are kept of a function.
const LISTS_MAX: usize = 8;
/// How many functions an argument is followed through.
const ROUNDS: usize = 2;

/// The functions of a program.
#[derive(Debug, Default)]
pub struct Arguments {
    functions: HashMap<String, usize>,
}

impl Arguments {
    /// Takes note of a function.
    pub fn declare(&mut self, name: &str) {
        let next = self.functions.len();
        if next < FUNCTIONS_MAX && !name.is_empty() {
            self.functions.entry(name.to_owned()).or_insert(next);
        }
    }

    /// What stands for an argument of a function while it is read: `$1`, `${2:-x}`, `$@`.
    pub fn mark(&self, function: &str, raw: &str) -> String {
        let name = raw.trim_start_matches(['$', '{', '"']);
        let place = match name.as_bytes() {
            [b'@' | b'*', ..] => 0,
            [digit @ b'1'..=b'9'] => usize::from(digit - b'0'),
            [digit @ b'1'..=b'9', next, ..] if !next.is_ascii_digit() => usize::from(digit - b'0'),
            _ => return UNKNOWN.to_string(),
        };
        let slot = self.functions.get(function).map(|index| index * EACH_FUNCTION + place);
        let mark = slot.and_then(|slot| char::from_u32(FIRST + u32::try_from(slot).ok()?));
        mark.unwrap_or(UNKNOWN).to_string()
    }

    /// Puts what functions are called with where it is used.
    pub fn resolve(&self, facts: &mut Facts) {
        if self.functions.is_empty() {
            return;
        }
        let mut given: Vec<String> = vec![UNKNOWN.to_string(); self.functions.len() * EACH_FUNCTION];
        let mut weights = vec![weight(&UNKNOWN.to_string()); given.len()];
        let mut lists: Vec<Vec<Vec<String>>> = vec![Vec::new(); self.functions.len()];
        for command in &facts.commands {
            let Some(index) = self.functions.get(command.program()) else { continue };
            let words = command.inner().get(1..).unwrap_or_default();
            for (place, word) in words.iter().take(EACH_FUNCTION - 1).enumerate() {
                let slot = index * EACH_FUNCTION + place + 1;
                keep(&mut given[slot], &mut weights[slot], word);
            }
            let all = index * EACH_FUNCTION;
            keep(&mut given[all], &mut weights[all], &words.join(" "));
            if lists[*index].len() < LISTS_MAX {
                lists[*index].push(words.to_vec());
            }
        }
        for _ in 0..ROUNDS {
            let before = given.clone();
            given
                .iter_mut()
                .filter(|text| is_marked(text))
                .for_each(|text| *text = without_marks(text, &before));
        }
        let mut more = Vec::new();
        for command in &mut facts.commands {
            // `"$@"`: each list of arguments is a command.
            let first = command.inner().first().and_then(|word| slot(word));
            if let Some(slot) = first.filter(|slot| slot % EACH_FUNCTION == 0) {
                let (wrapped, rest) = (command.wrappers, command.inner()[1..].to_vec());
                for list in lists.get(slot / EACH_FUNCTION).into_iter().flatten() {
                    let words = [&command.words[..wrapped], list, &rest].concat();
                    more.push(Command { wrappers: wrappers(&words), words, ..command.clone() });
                }
            }
            put(command, &given);
        }
        more.iter_mut().for_each(|command| put(command, &given));
        facts.commands.extend(more);
        for (text, _) in facts.texts.iter_mut().filter(|(text, _)| is_marked(text)) {
            *text = without_marks(text, &given);
        }
    }
}

/// Keeps the gravest word, of several the last, and how much it weighs.
fn keep(slot: &mut String, heaviest: &mut u8, word: &str) {
    if word == slot || word.len() > GIVEN_BYTES_MAX {
        return;
    }
    let weight = weight(word);
    if weight >= *heaviest {
        (*slot, *heaviest) = (word.to_owned(), weight);
    }
}

/// The slot of a text that is one mark.
fn slot(text: &str) -> Option<usize> {
    let mut all = text.chars();
    let first = all.next().and_then(slot_of)?;
    all.next().is_none().then_some(first)
}

fn slot_of(c: char) -> Option<usize> {
    let most = (FUNCTIONS_MAX * EACH_FUNCTION) as u32;
    (FIRST..FIRST + most).contains(&u32::from(c)).then(|| (u32::from(c) - FIRST) as usize)
}

fn is_marked(text: &str) -> bool {
    text.as_bytes().contains(&0xF3)
}

fn without_marks(text: &str, given: &[String]) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match slot_of(c) {
            Some(slot) => plain.push_str(given.get(slot).map_or("\u{fffd}", String::as_str)),
            None => plain.push(c),
        }
        if plain.len() > text.len() + GIVEN_BYTES_MAX * 4 {
            break;
        }
    }
    // What a function gives itself is not known.
    plain.chars().map(|c| if slot_of(c).is_some() { UNKNOWN } else { c }).collect()
}

fn put(command: &mut Command, given: &[String]) {
    let mut changed = false;
    for word in command.words.iter_mut().filter(|word| is_marked(word)) {
        *word = without_marks(word, given);
        changed = true;
    }
    for redirect in command.redirects.iter_mut().filter(|redirect| is_marked(&redirect.target)) {
        redirect.target = without_marks(&redirect.target, given);
    }
    if changed {
        command.wrappers = wrappers(&command.words);
    }
}

//! Programs of another language inside a shell program: what an interpreter is given as an argument or to read.

use super::{TEXTS_BYTES_MAX, take_commands};
use crate::bound;
use crate::facts::{Around, Endless, Facts};
use crate::{javascript, python};

/// Most of them that are read.
const SCRIPTS_MAX: usize = 64;

/// Adds what the programs do that a shell program hands to interpreters.
pub fn read(facts: &mut Facts) {
    let mut scripts = std::mem::take(&mut facts.scripts);
    for command in &facts.commands {
        let option = match command.program() {
            program if program.starts_with("python") => "-c",
            "node" | "nodejs" => "-e",
            _ => continue,
        };
        let at = command.inner().iter().position(|word| word == option);
        if let Some(text) = at.and_then(|at| command.inner().get(at + 1)) {
            scripts.push((command.program().to_owned(), text.replace("\\\"", "\""), command.at));
        }
    }
    scripts.sort_by_key(|(.., at)| *at);
    let mut bytes = 0;
    for (program, text, at) in scripts.into_iter().take(SCRIPTS_MAX) {
        bytes += text.len();
        if bytes > TEXTS_BYTES_MAX || bound::too_deep(&text) {
            break;
        }
        let inner = match program.as_str() {
            "sh" | "bash" | "zsh" | "dash" | "ksh" => {
                take_commands(facts, &text, at, Around::Nothing, 1);
                continue;
            }
            "node" | "nodejs" => bound::with_stack(text.len(), || javascript::read(&text, false)),
            program if program.starts_with("python") => bound::with_stack(text.len(), || python::read(&text)),
            _ => continue,
        };
        let Ok(inner) = inner else { continue };
        facts.calls.extend(inner.calls.into_iter().map(|call| crate::facts::Call { at, ..call }));
        facts.modules.extend(inner.modules.into_iter().map(|(name, _)| (name, at)));
        facts.texts.extend(inner.texts.into_iter().map(|(text, _)| (text, at)));
        facts.names.extend(inner.names.into_iter().map(|(name, _)| (name, at)));
        facts.endless.extend(inner.endless.iter().map(|_| Endless { at }));
        facts.recursive.extend(inner.recursive.iter().map(|_| at));
    }
}

//! What a word of a shell program says, as far as it can be said without running it.

use super::tree::{Field, Node};
use super::{DEPTH, NEIGHBOURS_MAX, Reader, WORDS_MAX};
use crate::decode;
use crate::facts::UNKNOWN;
use crate::place::weight;

/// Longest text of one value.
const TEXT_BYTES_MAX: usize = 4096;

impl<'a> Reader<'a> {
    /// The words that one word becomes: what is not quoted is split.
    pub(super) fn words_of(&self, node: Node<'a>) -> Vec<String> {
        let text = self.fold(node, DEPTH);
        let inner =
            if node.kind() == "command_name" { node.named_children().next().unwrap_or(node) } else { node };
        let raw = self.text(node);
        let splits = matches!(inner.kind(), "simple_expansion" | "expansion")
            || raw.contains("[@]")
            || raw.contains("IFS");
        if splits && text.contains(' ') && text.len() <= TEXT_BYTES_MAX {
            return text.split_whitespace().take(WORDS_MAX).map(str::to_owned).collect();
        }
        vec![text]
    }

    /// Says what a variable holds.
    pub(super) fn assign(&mut self, name: Node<'a>, value: Node<'a>, at: usize) {
        let mut text = self.fold(value, DEPTH);
        self.facts.texts.push((text.clone(), at));
        let raw = self.text(value);
        let name_text = self.text(name).to_owned();
        if raw.contains("$(") || raw.contains('`') {
            let undoes = [
                "base64 -d",
                "base64 --d",
                "base64 -D",
                "xxd -r",
                "enc -d",
                "| rev",
                "printf \"\\x",
                "printf '\\x",
            ];
            if raw.len() <= TEXT_BYTES_MAX && undoes.iter().any(|how| raw.contains(how)) {
                self.decoded.insert(name_text.clone());
            }
        }
        let adds =
            self.source.get(name.end_byte()..value.start_byte()).is_some_and(|sign| sign.contains("+="));
        if adds && let Some(before) = self.variables.get(&name_text) {
            let between = if value.kind() == "array" { " " } else { "" };
            text = format!("{before}{between}{text}");
        }
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        self.variables.insert(name_text, text);
    }

    /// Says what the variable of a loop holds: of what stands there the gravest place, else it is not known.
    pub(super) fn bind_each(&mut self, node: Node<'a>) {
        const SECRET: [&str; 6] = [".ssh", ".aws", ".gnupg", ".kube", ".netrc", ".docker"];
        let Some(name) = node.child_of(Field::Variable) else { return };
        let words = node.children_of(Field::Value).take(16).flat_map(|value| self.words_of(value));
        let place = |word: &String| {
            word.starts_with(['/', '~']) || SECRET.iter().any(|secret| word.starts_with(secret))
        };
        let gravest = words.filter(place).max_by_key(|word| weight(word));
        let value = gravest.map_or(UNKNOWN.to_string(), |word| word.replace('*', "\u{fffd}"));
        self.variables.insert(self.text(name).to_owned(), value);
    }

    /// Takes note of a program that a shell or an interpreter is given to read.
    pub(super) fn read_heredoc(&mut self, whole: Node<'a>, redirect: Node<'a>) {
        let Some(body) = redirect.named_children().find(|part| part.kind() == "heredoc_body") else {
            return;
        };
        let line = self.text(whole).lines().next().unwrap_or_default();
        let piped = ["| sh", "| bash", "|sh", "|bash"].iter().any(|pipe| line.contains(pipe));
        let program = if piped {
            "sh"
        } else {
            line.split_whitespace().find(|word| *word != "sudo").unwrap_or_default()
        };
        let program = crate::facts::last_part(program, b'/').to_owned();
        self.facts.scripts.push((program, self.text(body).to_owned(), whole.start_byte()));
    }

    /// Whether a word is only a variable that holds what an encoding was undone of.
    pub(super) fn is_decoded(&self, node: Node<'a>) -> bool {
        if self.decoded.is_empty() {
            return false;
        }
        let name = self.text(node).trim_matches(['"', '$', '{', '}']);
        self.decoded.contains(name)
    }

    /// A word as the shell would make it, as far as that is known.
    pub(super) fn fold(&self, node: Node<'a>, depth: usize) -> String {
        let Some(depth) = depth.checked_sub(1) else { return UNKNOWN.to_string() };
        let parts = |between: &str| {
            let parts: Vec<String> =
                node.named_children().take(WORDS_MAX).map(|part| self.fold(part, depth)).collect();
            parts.join(between)
        };
        match node.kind() {
            "raw_string" => self.text(node).trim_matches('\'').to_owned(),
            "ansi_c_string" => unescaped(self.text(node).trim_start_matches('$').trim_matches('\'')),
            "string" => self.fold_string(node, depth),
            "concatenation" | "command_name" => parts(""),
            "array" => parts(" "),
            "simple_expansion" | "expansion" => {
                let raw = self.text(node);
                let name = raw.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
                let name = name.split([':', '#', '%', '/']).next().unwrap_or(name);
                match name {
                    "HOME" => "~".to_owned(),
                    // A separator by another name.
                    "IFS" => " ".to_owned(),
                    name => match self.variables.get(name) {
                        Some(value) => value.clone(),
                        None => self.argument(raw),
                    },
                }
            }
            "command_substitution" => {
                let inner = node.named_children().find(|inner| inner.kind() != "comment");
                let printed = inner.and_then(|inner| self.printed(inner, depth));
                printed.unwrap_or_else(|| UNKNOWN.to_string())
            }
            "process_substitution" | "arithmetic_expansion" => UNKNOWN.to_string(),
            "brace_expression" => self.text(node).to_owned(),
            _ => self.text(node).chars().filter(|c| *c != '\\').take(TEXT_BYTES_MAX).collect(),
        }
    }

    /// What stands for an argument of the function around.
    fn argument(&self, raw: &str) -> String {
        let function = self.functions.last().map(|(name, _)| name.as_str());
        function.map_or_else(|| UNKNOWN.to_string(), |function| self.arguments.mark(function, raw))
    }

    /// What commands print of what stands in the program: an `echo` or `printf` of it, and what undoes an encoding.
    fn printed(&self, node: Node<'a>, depth: usize) -> Option<String> {
        let stages: Vec<Node> = match node.kind() {
            "pipeline" => node.named_children().take(NEIGHBOURS_MAX).collect(),
            "command" | "redirected_statement" => vec![node],
            _ => return None,
        };
        let mut text = None;
        for stage in stages {
            let mut words = Vec::new();
            for part in stage.named_children().take(16) {
                match part.kind() {
                    "herestring_redirect" => {
                        text = part.named_children().next().map(|told| self.fold(told, depth))
                    }
                    "command" | "file_redirect" | "heredoc_redirect" => return None,
                    _ => words.extend([self.fold(part, depth)]),
                }
            }
            text = Some(prints(&words, text)?);
        }
        text.filter(|text| !text.contains([UNKNOWN, '\0']) && text.len() <= TEXT_BYTES_MAX)
    }

    /// A string between double quotes: the pieces between expansions are no named nodes everywhere.
    fn fold_string(&self, node: Node<'a>, depth: usize) -> String {
        let (mut text, mut at) = (String::new(), node.start_byte());
        for part in node.named_children().take(WORDS_MAX) {
            text.push_str(self.source.get(at..part.start_byte()).unwrap_or_default());
            text.push_str(&self.fold(part, depth));
            at = part.end_byte();
        }
        text.push_str(self.source.get(at..node.end_byte()).unwrap_or_default());
        text.trim_start_matches('"').trim_end_matches('"').to_owned()
    }
}

/// What a command prints that is given a text.
fn prints(words: &[String], given: Option<String>) -> Option<String> {
    let has = |wanted: &[&str]| words.iter().skip(1).any(|word| wanted.contains(&word.as_str()));
    let rest = || words.iter().skip(1).skip_while(|word| word.starts_with('-')).cloned().collect::<Vec<_>>();
    match words.first()?.as_str() {
        "echo" => {
            let text = rest().join(" ");
            Some(if words.get(1).is_some_and(|option| option.starts_with('-') && option.contains('e')) {
                unescaped(&text)
            } else {
                text
            })
        }
        "printf" => {
            let rest = rest();
            let (format, values) = rest.split_first()?;
            Some(unescaped(&format.replace("%s", &values.concat()).replace("%b", &values.concat())))
        }
        "base64" | "openssl" if has(&["-d", "--decode", "-D", "-di"]) => decode::base64(&given?),
        "xxd" if words.iter().any(|word| word.starts_with("-r") || word == "-p-r" || word == "-pr") => {
            decode::hex(&given?)
        }
        "rev" => given.map(|text| decode::reversed(&text)),
        "cat" if words.len() == 1 => given,
        "tr" if has(&["-d"]) => {
            let without = words.last()?.clone();
            given.map(|text| text.chars().filter(|c| !without.contains(*c)).collect())
        }
        "tr" if has(&["N-ZA-Mn-za-m", "n-za-mN-ZA-M", "[N-ZA-Mn-za-m]"]) => {
            given.map(|text| decode::rot13(&text))
        }
        _ => None,
    }
}

/// A text with its escapes (`\x72`, `\162`, `\n`) as the characters that they stand for.
fn unescaped(text: &str) -> String {
    let mut plain = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = |from: usize, radix: u32, most: usize| {
            let run = bytes.get(from..).unwrap_or_default().iter();
            run.take(most).take_while(|byte| char::from(**byte).is_digit(radix)).count()
        };
        let (from, radix, most) = match (byte, bytes.get(at + 1)) {
            (b'\\', Some(b'x')) => (at + 2, 16, 2),
            (b'\\', Some(b'0'..=b'7')) => (at + 1, 8, if bytes.get(at + 1) == Some(&b'0') { 4 } else { 3 }),
            (b'\\', Some(b'n')) => {
                plain.push(b'\n');
                at += 2;
                continue;
            }
            _ => (at, 0, 0),
        };
        let length = if most == 0 { 0 } else { digits(from, radix, most) };
        let code = text.get(from..from + length).and_then(|code| u8::from_str_radix(code, radix.max(2)).ok());
        match code {
            Some(code) if length > 0 => {
                plain.push(code);
                at = from + length;
            }
            _ => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

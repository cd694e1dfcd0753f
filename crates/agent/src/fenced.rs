//! Code in fenced blocks, for models that cannot call tools: a block that names a language is run, an answer without one is the answer.

use crate::surroundings::Surroundings;
use crate::workbench::Program;
use model::Language;
use std::str::FromStr;

/// What such a model is told.
pub fn instructions(around: &Surroundings) -> String {
    format!(
        "To run a program, write it in one fenced block that begins with ```python, ```javascript, ```typescript or ```bash, and end your \
         message there. It runs in {}; variables and files stay from block to block; you are told what it printed.{} Give your final answer \
         in a message without such a block.",
        around.sandbox(),
        around.files()
    )
}

/// The blocks of a text that are to be run, in order.
pub fn programs(text: &str) -> Vec<Program> {
    let mut found = Vec::new();
    let mut open: Option<(&str, Option<Language>, Vec<&str>)> = None;
    for line in text.lines() {
        let fence = fence_of(line);
        match &mut open {
            None => {
                if let Some((fence, word)) = fence {
                    // A block of a language that no session has is shown, not run.
                    let language = Language::from_str(word).ok();
                    open = Some((fence, language.filter(|language| !language.is_declared()), Vec::new()));
                }
            }
            // A block ends with a fence as long as its own (CommonMark 0.31 §4.5).
            Some((own, language, lines)) => match fence {
                Some((end, "")) if end.starts_with(*own) => {
                    found.extend(language.map(|language| program(language, lines)));
                    open = None;
                }
                _ => lines.push(line),
            },
        }
    }
    // One that is not closed was meant to go to the end.
    if let Some((_, Some(language), lines)) = open {
        found.push(program(language, &lines));
    }
    found
}

fn program(language: Language, lines: &[&str]) -> Program {
    Program { language, code: format!("{}\n", lines.join("\n")), stdin: None, packages: Vec::new() }
}

fn fence_of(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let mark = ["`", "~"].into_iter().find(|mark| line.starts_with(&mark.repeat(3)))?;
    let rest = line.trim_start_matches(mark);
    let word = rest.split_whitespace().next().unwrap_or_default();
    Some((&line[..line.len() - rest.len()], word))
}

/// The first JSON object of a text: the whole, or what a fence or words around it leave.
pub fn object_in(text: &str) -> Option<serde_json::Value> {
    text.match_indices('{').find_map(|(at, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<serde_json::Value>();
        values.next()?.ok().filter(serde_json::Value::is_object)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_a_language_that_no_session_has_is_shown() {
        let found = programs("```c\nint main() {}\n```\n```java\nclass Main {}\n```\n```py\n1\n```\n");
        assert_eq!(found.iter().map(|program| program.language).collect::<Vec<_>>(), [Language::Python]);
    }

    #[test]
    fn blocks_with_a_language_are_run() {
        let text = "First\n```python\nprint('```')\n```\nand\n~~~~js\n~~~\n1\n~~~~\n```\nnot this\n```\n```json\n{}\n```\n  ```bash title=x\nls";
        let found: Vec<(Language, String)> =
            programs(text).into_iter().map(|program| (program.language, program.code)).collect();
        assert_eq!(
            found,
            [
                (Language::Python, "print('```')\n".to_owned()),
                (Language::JavaScript, "~~~\n1\n".to_owned()),
                (Language::Bash, "ls\n".to_owned()),
            ]
        );
        assert!(programs("The sum is 5050.").is_empty());
    }

    #[test]
    fn an_object_is_found_in_words() {
        assert_eq!(object_in("Sure {x}: ```json\n{\"a\": {\"b\": 1}}\n``` done").unwrap()["a"]["b"], 1);
        assert!(object_in("none").is_none());
    }
}

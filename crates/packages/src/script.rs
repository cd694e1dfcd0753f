//! Inline metadata of a Python program (PEP 723), exactly as its reference implementation reads it.
//!
//! ```python
//! REGEX = r'(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$'
//!
//! def read(script: str) -> dict | None:
//!     name = 'script'
//!     matches = list(filter(lambda m: m.group('type') == name, re.finditer(REGEX, script)))
//!     if len(matches) > 1:
//!         raise ValueError(f'Multiple {name} blocks found')
//!     elif len(matches) == 1:
//!         content = ''.join(
//!             line[2:] if line.startswith('# ') else line[1:]
//!             for line in matches[0].group('content').splitlines(keepends=True)
//!         )
//!         return tomllib.loads(content)
//!     else:
//!         return None
//! ```
//! (packaging.python.org/en/latest/specifications/inline-script-metadata.) `tables/vectors.py` writes down what it says of generated programs, and the tests compare.
//! A program is a text file, in which Python reads `\r\n` and `\r` as `\n`; so do we, first.

use crate::pyproject::{Project, document, needs};
use crate::refused::{Refused, Why};

/// What a program says that it needs; nothing if it has no block `script`. Fails if it has more than one, if that is no TOML, and with the first
/// dependency that is refused. `[tool]` is not read, but sources of packages in it are refused.
pub fn parse(program: &str) -> Result<Option<Project>, Refused> {
    let Some(content) = content(program)? else { return Ok(None) };
    let table = document("script metadata", &content)?;
    needs("script metadata", &table).map(Some)
}

/// The text of the block `script`, if there is one. Fails if there are more.
pub fn content(program: &str) -> Result<Option<String>, Refused> {
    if !program.contains("# /// ") {
        return Ok(None);
    }
    let program = program.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = program.split('\n').collect();
    let mut found = None;
    let mut at = 0;
    while at < lines.len() {
        let Some(kind) = opening(lines[at]) else {
            at += 1;
            continue;
        };
        let run = lines[at + 1..].iter().take_while(|line| **line == "#" || line.starts_with("# ")).count();
        let last = lines[at + 1..=at + run].iter().rposition(|line| *line == "# ///");
        let Some(content) = last.filter(|last| *last > 0).map(|last| &lines[at + 1..=at + last]) else {
            // The run has no last line for whatever else begins in it either.
            at += 1 + run;
            continue;
        };
        if kind == "script" && found.replace(uncommented(content)).is_some() {
            return Err(Refused::new("script metadata", Why::Blocks));
        }
        // The next match begins after this one's last line.
        at += content.len() + 2;
    }
    Ok(found)
}

/// The kind of the block that a line begins.
fn opening(line: &str) -> Option<&str> {
    let kind = line.strip_prefix("# /// ")?;
    (!kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        .then_some(kind)
}

/// What stands behind the `#` of each line. Python's `splitlines` ends lines in more places than its regular expressions do.
fn uncommented(lines: &[&str]) -> String {
    let mut content = String::new();
    for line in lines {
        for piece in line.split_inclusive(is_line_end) {
            let rest = piece.strip_prefix("# ").unwrap_or_else(|| {
                let mut letters = piece.chars();
                letters.next();
                letters.as_str()
            });
            content.push_str(rest);
        }
        content.push('\n');
    }
    content
}

/// What `str.splitlines` ends a line at (docs.python.org/3/library/stdtypes.html#str.splitlines) and a text file does not.
fn is_line_end(letter: char) -> bool {
    matches!(letter, '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

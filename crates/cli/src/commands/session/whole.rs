//! Whether what a person has typed is whole, or a line is still to come. A guess that only decides when Enter sends: what is sent too
//! early is a syntax error, and an empty line sends a block of Python.

use model::Language;

/// Whether more is to come.
pub fn wants_more(language: Language, typed: &str) -> bool {
    match language {
        Language::Python => python(typed),
        Language::Bash => bash(typed),
        // What is declared has no session; braces are most languages'.
        _ => script(typed),
    }
}

/// What a scan of brackets and quotes found.
#[derive(Default)]
struct Scan {
    /// Brackets that are open.
    depth: i32,
    /// Within a string at the end.
    quoted: bool,
    /// A backslash ends it.
    joined: bool,
}

/// Goes through `text`; `quotes` are its strings' ends, longest first, and whether each may go on over lines.
fn scan(text: &str, quotes: &[(&str, bool)], comment: &[&str]) -> Scan {
    let mut found = Scan::default();
    let mut within: Option<(&str, bool)> = None;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        found.joined = false;
        let mut step = next.len_utf8();
        match within {
            Some((end, _)) if rest.starts_with(end) => (within, step) = (None, end.len()),
            Some((_, long)) if next == '\n' && !long => within = None,
            _ if next == '\\' => {
                let after = rest[1..].chars().next();
                found.joined = after.is_none();
                step += after.map_or(0, char::len_utf8);
            }
            Some(_) => {}
            None => {
                if let Some(start) = quotes.iter().find(|(quote, _)| rest.starts_with(quote)) {
                    (within, step) = (Some(*start), start.0.len());
                } else if comment.iter().any(|comment| rest.starts_with(comment)) {
                    step = rest.find('\n').unwrap_or(rest.len());
                } else if "([{".contains(next) {
                    found.depth += 1;
                } else if ")]}".contains(next) {
                    found.depth -= 1;
                }
            }
        }
        rest = &rest[step..];
    }
    found.quoted = within.is_some_and(|(_, long)| long);
    found
}

fn python(typed: &str) -> bool {
    let quotes = [("\"\"\"", true), ("'''", true), ("\"", false), ("'", false)];
    let Scan { depth, quoted, joined } = scan(typed, &quotes, &["#"]);
    if depth > 0 || quoted || joined {
        return true;
    }
    let last = typed.rsplit('\n').next().unwrap_or_default();
    let opens = |line: &str| {
        let code = line.split(" #").next().unwrap_or_default().trim_end();
        code.ends_with(':') || code.trim_start().starts_with('@')
    };
    // A block ends with an empty line, as at Python's own prompt.
    typed.lines().any(opens) && !last.trim().is_empty()
}

fn script(typed: &str) -> bool {
    let Scan { depth, quoted, joined } = scan(typed, &[("`", true), ("\"", false), ("'", false)], &["//"]);
    depth > 0 || quoted || joined
}

fn bash(typed: &str) -> bool {
    // Within single quotes a backslash is a backslash; the guess errs towards one line more.
    let Scan { depth, quoted, joined } = scan(typed, &[("\"", true), ("'", true)], &["#!", " #"]);
    let end = typed.trim_end();
    let goes_on = end.ends_with("&&") || end.ends_with('|');
    let words = || typed.split(|next: char| next.is_whitespace() || next == ';');
    let count = |wanted: &[&str]| words().filter(|word| wanted.contains(word)).count();
    let open = count(&["if"]) > count(&["fi"])
        || count(&["do"]) > count(&["done"])
        || count(&["for", "while", "until"]) > count(&["done"])
        || count(&["case"]) > count(&["esac"]);
    // In a `case` a bracket closes what none opened.
    (depth > 0 || quoted || joined || goes_on || open) && !typed.ends_with("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_still_to_come() {
        let more = [
            (Language::Python, "def f(x):"),
            (Language::Python, "def f(x):\n    return x"),
            (Language::Python, "@cache"),
            (Language::Python, "print(1,"),
            (Language::Python, "s = '''a"),
            (Language::Python, "x = 1 + \\"),
            (Language::JavaScript, "function f() {"),
            (Language::JavaScript, "const t = `a"),
            (Language::Bash, "for x in 1 2; do"),
            (Language::Bash, "echo 'a"),
            (Language::Bash, "true &&"),
            (Language::Bash, "if true; then echo 1"),
            (Language::Bash, "f() {"),
        ];
        for (language, typed) in more {
            assert!(wants_more(language, typed), "{typed:?}");
        }
    }

    #[test]
    fn it_is_whole() {
        let whole = [
            (Language::Python, "x = 1"),
            (Language::Python, "def f(x):\n    return x\n"),
            (Language::Python, "print(')', \"(\")  # ("),
            (Language::Python, "if x: print(1)"),
            (Language::Python, "d = {'a': 1}"),
            (Language::Python, "'unended"),
            (Language::JavaScript, "const f = () => { return '{' } // {"),
            (Language::Bash, "for x in 1 2; do echo $x; done"),
            (Language::Bash, "echo \"done\" # 'x"),
            (Language::Bash, "f() { echo 1; }"),
        ];
        for (language, typed) in whole {
            assert!(!wants_more(language, typed), "{typed:?}");
        }
    }
}

//! Code in colours for a terminal: keywords, strings, comments and numbers, by a scanner that knows no more of a language than these.

use model::Language;

const KEYWORD: &str = "35";
const STRING: &str = "32";
const COMMENT: &str = "90";
const NUMBER: &str = "33";

const PYTHON: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "case", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "match", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];
const SCRIPT: &[&str] = &[
    "as",
    "async",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "from",
    "function",
    "if",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "of",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "type",
    "typeof",
    "undefined",
    "var",
    "void",
    "while",
    "yield",
];
const SHELL: &[&str] = &[
    "case", "do", "done", "elif", "else", "esac", "exit", "export", "fi", "for", "function", "if", "in",
    "local", "return", "set", "then", "until", "while",
];

/// The code with SGR sequences (ECMA-48 8.3.117) that are ended on each line. Languages that no session has stay as they are.
pub fn highlighted(code: &str, language: Language) -> String {
    let (keywords, comments, triple): (&[&str], &[&str], bool) = match language {
        Language::Python => (PYTHON, &["#"], true),
        Language::JavaScript | Language::TypeScript => (SCRIPT, &["//", "/*"], false),
        Language::Bash => (SHELL, &["#"], false),
        _ => return code.to_owned(),
    };
    let mut out = String::with_capacity(code.len() * 2);
    let mut before = None;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        // In a shell, a mark within a word is no comment.
        let is_apart = language != Language::Bash || before.is_none_or(char::is_whitespace);
        let (length, color) = if is_apart
            && let Some(mark) = comments.iter().find(|mark| rest.starts_with(**mark))
        {
            (
                if *mark == "/*" { to_end_of(rest, "*/", 2) } else { rest.find('\n').unwrap_or(rest.len()) },
                COMMENT,
            )
        } else if matches!(first, '"' | '\'' | '`') {
            (string(rest, first, triple), STRING)
        } else if first.is_ascii_digit() {
            (run(rest, |one| one.is_ascii_alphanumeric() || one == '.' || one == '_'), NUMBER)
        } else if is_word(first) {
            let length = run(rest, is_word);
            (length, if keywords.contains(&&rest[..length]) { KEYWORD } else { "" })
        } else {
            (first.len_utf8(), "")
        };
        let (token, more) = rest.split_at(length);
        paint(&mut out, token, color);
        before = token.chars().next_back();
        rest = more;
    }
    out
}

fn is_word(one: char) -> bool {
    one.is_alphanumeric() || one == '_' || one == '$'
}

/// How long the run of such characters is, in bytes.
fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|one| !of(one)).unwrap_or(text.len())
}

fn to_end_of(text: &str, end: &str, from: usize) -> usize {
    text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
}

/// How long a string is. One of a single quote ends with its line, but for those that may have many.
fn string(text: &str, quote: char, triple: bool) -> usize {
    let mark = quote.to_string().repeat(3);
    if triple && text.starts_with(&mark) {
        return to_end_of(text, &mark, 3);
    }
    let mut is_escaped = false;
    for (at, one) in text.char_indices().skip(1) {
        match one {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '\n' if triple => return at,
            one if one == quote => return at + one.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn paint(out: &mut String, token: &str, color: &str) {
    if color.is_empty() {
        return out.push_str(token);
    }
    for (at, line) in token.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if !line.is_empty() {
            out.extend(["\x1b[", color, "m", line, "\x1b[0m"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(code: &str, language: Language) -> String {
        let painted = highlighted(code, language);
        let names = [("35", "k"), ("32", "s"), ("90", "c"), ("33", "n")];
        names.iter().fold(painted.replace("\x1b[0m", ">"), |text, (color, name)| {
            text.replace(&format!("\x1b[{color}m"), &format!("<{name} "))
        })
    }

    #[test]
    fn each_language_has_its_tokens() {
        assert_eq!(
            shown("def f(x1):  # it's\n    return 'a\\'b' + \"\"\"c\nd\"\"\" * 1e3", Language::Python),
            "<k def> f(x1):  <c # it's>\n    <k return> <s 'a\\'b'> + <s \"\"\"c>\n<s d\"\"\"> * <n 1e3>"
        );
        assert_eq!(
            shown("const x = `a\n${b}`; /* 1\n2 */ f(0x1F) // end", Language::TypeScript),
            "<k const> x = <s `a>\n<s ${b}`>; <c /* 1>\n<c 2 */> f(<n 0x1F>) <c // end>"
        );
        assert_eq!(shown("for x in a#b; do # c", Language::Bash), "<k for> x <k in> a#b; <k do> <c # c>");
        assert_eq!(shown("'open\nx = 1", Language::Python), "<s 'open>\nx = <n 1>");
        assert_eq!(shown("ü = 'é", Language::Python), "ü = <s 'é>");
        assert_eq!(shown("int x = 1;", Language::C), "int x = 1;");
    }
}

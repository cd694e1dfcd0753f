//! Reads shell programs as most people write them, quickly, into what tree-sitter's grammar makes of them. What it does not know for
//! sure it leaves to that grammar: it need not be complete, but must never be wrong.

mod compound;
mod words;

use super::tree::{Field, Tree};

/// This is not written plainly enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NotPlain;

type Read<T = ()> = Result<T, NotPlain>;

/// How deep statements and substitutions may be nested.
const DEPTH_MAX: usize = 32;
/// Longest run of text in a string or word, and most pieces of one: readers of a tree take no more of each.
const RUN_BYTES_MAX: usize = 4000;
const PIECES_MAX: usize = 48;

/// Reads the statements of a line, or of as many as they take, from `at` on. Returns where the line after them begins, or, of what is not
/// written plainly, how far it looked.
pub fn read_lines(source: &str, at: usize, tree: &mut Tree) -> Result<usize, usize> {
    let mut plain = Plain { bytes: source.as_bytes(), at, depth: 0, tree };
    match plain.top() {
        Ok(()) => Ok(plain.at),
        Err(NotPlain) => Err(plain.at.min(source.len())),
    }
}

struct Plain<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    tree: &'a mut Tree,
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a byte stands for itself in a word.
fn is_literal(byte: u8) -> bool {
    is_name(byte)
        || matches!(
            byte,
            b'-' | b'.' | b'/' | b':' | b'@' | b'%' | b'+' | b'=' | b',' | b'~' | b'^' | b'?' | b'*' | b'!'
        )
}

/// Whether a byte may stand in the name of a command.
fn begins_command(byte: u8) -> bool {
    is_name(byte) || matches!(byte, b'-' | b'.' | b'/' | b'~' | b'$')
}

/// Words that begin or end something else than a simple command.
fn is_reserved(word: &[u8]) -> bool {
    matches!(
        word,
        b"if"
            | b"then"
            | b"elif"
            | b"else"
            | b"fi"
            | b"for"
            | b"select"
            | b"while"
            | b"until"
            | b"do"
            | b"done"
            | b"case"
            | b"esac"
            | b"in"
            | b"function"
            | b"declare"
            | b"typeset"
            | b"export"
            | b"readonly"
            | b"local"
            | b"unset"
            | b"unsetenv"
    )
}

impl Plain<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn begins(&self, text: &[u8]) -> bool {
        self.bytes[self.at.min(self.bytes.len())..].starts_with(text)
    }

    fn eat(&mut self, text: &[u8]) -> bool {
        let is_there = self.begins(text);
        self.at += if is_there { text.len() } else { 0 };
        is_there
    }

    fn must(&mut self, text: &[u8]) -> Read {
        if self.eat(text) { Ok(()) } else { Err(NotPlain) }
    }

    fn require(condition: bool) -> Read {
        if condition { Ok(()) } else { Err(NotPlain) }
    }

    /// Passes blanks and lines that go on; says whether one did.
    fn blanks(&mut self) -> bool {
        let mut goes_on = false;
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => {
                    self.at += 2;
                    goes_on = true;
                }
                _ => return goes_on,
            }
        }
    }

    /// Passes blanks, empty lines and comments.
    fn space(&mut self) -> Read {
        loop {
            Self::require(!self.blanks())?;
            match self.peek() {
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.comment(),
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }

    /// The name or number that stands there.
    fn name(&self) -> &[u8] {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        &rest[..rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len())]
    }

    /// The name that stands there, if it is a word of its own.
    fn whole_name(&self) -> &[u8] {
        let name = self.name();
        match self.peek_at(name.len()) {
            None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>') => name,
            _ => b"",
        }
    }

    fn keyword(&mut self, word: &[u8]) -> Read {
        Self::require(self.whole_name() == word)?;
        self.at += word.len();
        Ok(())
    }

    fn is_end_of_word(&self) -> bool {
        matches!(self.peek(), None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')' | b'<' | b'>'))
            || self.begins(b"\\\n")
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        Self::require(self.depth < DEPTH_MAX)?;
        self.depth += 1;
        let done = read(self)?;
        self.depth -= 1;
        Ok(done)
    }

    /// The statements that begin in this line, to the end of the line of the last.
    fn top(&mut self) -> Read {
        loop {
            Self::require(!self.blanks())?;
            match self.peek() {
                None => return Ok(()),
                Some(b'#') => self.comment(),
                Some(b'\n') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => {
                    self.statement()?;
                    Self::require(matches!(self.peek(), None | Some(b'\n' | b'#')) || self.terminator()?)?;
                }
            }
        }
    }

    /// Passes what ends a statement, if it is there.
    fn terminator(&mut self) -> Read<bool> {
        match self.peek() {
            Some(b'\n') => self.at += 1,
            Some(b';') if self.peek_at(1) != Some(b';') => self.at += 1,
            Some(b'&') if !matches!(self.peek_at(1), Some(b'&' | b'>')) => {
                self.tree.leaf("&", self.at, self.at + 1);
                self.tree.is_punctuation();
                self.at += 1;
            }
            // Behind it the line ends.
            Some(b'#') => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Statements up to a word or sign that begins none. Says whether the last was terminated.
    fn statements(&mut self) -> Read<bool> {
        self.deeper(|plain| {
            let mut is_terminated = true;
            let mut any = false;
            loop {
                plain.space()?;
                let ends = matches!(plain.peek(), None | Some(b'}' | b')'))
                    || plain.begins(b";;")
                    || matches!(
                        plain.whole_name(),
                        b"then" | b"elif" | b"else" | b"fi" | b"do" | b"done" | b"esac"
                    );
                if ends {
                    Self::require(any)?;
                    return Ok(is_terminated);
                }
                Self::require(is_terminated)?;
                plain.statement()?;
                any = true;
                is_terminated = plain.terminator()?;
            }
        })
    }

    /// Statements of which the last one is terminated.
    fn terminated(&mut self) -> Read {
        let is_terminated = self.statements()?;
        Self::require(is_terminated)
    }

    /// Pipelines and what joins them. A redirection is one of all before it, as the grammar has it.
    fn statement(&mut self) -> Read {
        let start = self.at;
        let list = self.tree.mark();
        let mut links = 0;
        'list: loop {
            let mut pipe = self.tree.mark();
            let (mut joined, mut is_long) = (1, false);
            self.part()?;
            loop {
                let crossed = self.blanks();
                let redirects = self.redirects_follow();
                let (is_or, is_and) = (self.begins(b"||"), self.begins(b"&&"));
                if !redirects && self.begins(b"|") && !is_or {
                    Self::require(!self.begins(b"|&"))?;
                    self.at += 1;
                    self.operand()?;
                    self.part()?;
                    joined += 1;
                    links += 1;
                    Self::require(links < PIECES_MAX)?;
                    continue;
                }
                // The grammar takes what follows three programs in a pipeline for a part of it.
                is_long |= joined > 2;
                Self::require(!is_long || !is_or && !is_and)?;
                let from = self.tree.start_of(pipe);
                let to = self.tree.end_of_last();
                if joined > 1 {
                    self.tree.close("pipeline", from, to, pipe);
                    joined = 1;
                }
                if pipe > list {
                    self.tree.close("list", start, to, list);
                    pipe = list;
                }
                if redirects {
                    self.tree.is(Field::Body);
                    self.redirects(start, list)?;
                    continue;
                }
                if is_or || is_and {
                    self.at += 2;
                    self.operand()?;
                    links += 1;
                    Self::require(links < PIECES_MAX)?;
                    continue 'list;
                }
                Self::require(!(crossed && matches!(self.peek(), None | Some(b'#' | b'\n'))))?;
                return Ok(());
            }
        }
    }

    /// What follows `|`, `&&` or `||` may stand in another line.
    fn operand(&mut self) -> Read {
        self.blanks();
        while self.peek() == Some(b'\n') {
            self.at += 1;
            self.blanks();
        }
        Self::require(self.peek().is_some_and(|byte| !matches!(byte, b'#')))
    }

    fn redirects_follow(&self) -> bool {
        if self.begins(b"<(") || self.begins(b">(") {
            return false;
        }
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        // To the grammar, a number that begins with 0 is a word.
        matches!(rest.get(digits), Some(b'<' | b'>')) && (digits == 0 || rest[0] != b'0')
            || rest.starts_with(b"&>")
    }

    /// The redirections of all since `mark`.
    fn redirects(&mut self, start: usize, mark: usize) -> Read {
        // To the grammar a dash and a descriptor are one.
        Self::require(!self.bytes[..self.at].trim_ascii_end().ends_with(b" -"))?;
        let mut most = 0;
        while self.redirects_follow() {
            let at = self.at;
            let own = self.tree.mark();
            while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1;
            }
            let from = self.at;
            let operators: [&[u8]; 8] = [b"&>>", b"&>", b">>", b">&", b"<&", b">|", b">", b"<"];
            let operator = operators.iter().find(|operator| self.begins(operator)).ok_or(NotPlain)?;
            self.at += operator.len();
            Self::require(from == at || operator[0] != b'&')?;
            Self::require(!matches!(self.peek(), Some(b'<' | b'>' | b'(' | b'&' | b'-' | b'|')))?;
            self.tree.leaf("", from, self.at);
            self.tree.is_punctuation();
            self.blanks();
            if operator.len() == 1 && self.begins(b"<(") {
                self.process()?
            } else {
                self.literal()?
            }
            self.tree.is(Field::Destination);
            let end = self.at;
            self.tree.close("file_redirect", at, end, own);
            self.tree.is(Field::Redirect);
            most += 1;
            Self::require(most < 8)?;
            let crossed = self.blanks();
            // Another word would be one more file to the grammar.
            let is_end = matches!(self.peek(), None | Some(b'\n' | b';' | b'|' | b'&' | b'#' | b')'));
            Self::require(is_end && !crossed || self.redirects_follow())?;
        }
        let end = self.tree.end_of_last();
        self.tree.close("redirected_statement", start, end, mark);
        Ok(())
    }

    /// One statement without what joins or redirects it.
    fn part(&mut self) -> Read {
        let start = self.at;
        let mark = self.tree.mark();
        match self.peek().ok_or(NotPlain)? {
            b'(' if self.peek_at(1) != Some(b'(') => {
                self.at += 1;
                self.statements()?;
                self.must(b")")?;
                self.tree.close("subshell", start, self.at, mark);
            }
            b'(' => {
                self.at += 2;
                self.arithmetic()?;
                self.must(b"))")?;
                self.tree.close("compound_statement", start, self.at, mark);
            }
            b'{' => self.braces()?,
            b'[' => self.test()?,
            b'!' => {
                self.at += 1;
                Self::require(matches!(self.peek(), Some(b' ')))?;
                self.blanks();
                if self.peek() == Some(b'[') {
                    self.test()?
                } else {
                    self.command()?;
                    Self::require(self.tree.is_last("command"))?;
                }
                let end = self.tree.end_of_last();
                self.tree.close("negated_command", start, end, mark);
            }
            _ => match self.whole_name() {
                b"if" => self.choice()?,
                b"for" => self.each()?,
                word @ (b"while" | b"until") => {
                    self.at += word.len();
                    self.condition()?;
                    self.body()?;
                    self.tree.close("while_statement", start, self.at, mark);
                }
                b"case" => self.cases()?,
                b"function" => {
                    self.at += 8;
                    self.blanks();
                    self.function()?;
                    self.tree.starts_at(start);
                }
                word @ (b"export" | b"local" | b"readonly" | b"declare" | b"typeset") => {
                    self.at += word.len();
                    self.declaration(start)?;
                }
                b"" => self.command()?,
                word if is_reserved(word) => return Err(NotPlain),
                word => match self.bytes.get(self.at + word.len()..).unwrap_or_default() {
                    [b'(', b')', ..] | [b' ', b'(', b')', ..] => self.function()?,
                    [b'(', ..] => return Err(NotPlain),
                    _ => self.command()?,
                },
            },
        }
        Ok(())
    }
}

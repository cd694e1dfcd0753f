//! Simple commands, and the words that they are made of.

use super::{
    NotPlain, PIECES_MAX, Plain, RUN_BYTES_MAX, Read, begins_command, is_literal, is_name, is_reserved,
};
use crate::shell::tree::Field;

impl Plain<'_> {
    pub(super) fn declaration(&mut self, start: usize) -> Read {
        let mark = self.tree.mark();
        let mut end = self.at;
        for _ in 0..PIECES_MAX {
            let crossed = self.blanks();
            if matches!(self.peek(), None | Some(b'\n' | b';' | b'&' | b'|' | b')' | b'#')) {
                Self::require(!crossed)?;
                self.tree.close("declaration_command", start, end, mark);
                return Ok(());
            }
            Self::require(!self.redirects_follow())?;
            if !self.assignment()? {
                let (from, name) = (self.at, self.name().len());
                self.literal()?;
                Self::require(
                    !self.bytes[from..self.at].iter().any(|byte| matches!(byte, b'=' | b'[')) && name == 0
                        || self.at - from == name,
                )?;
            }
            end = self.at;
        }
        Err(NotPlain)
    }

    /// `name=value`, if it stands there.
    pub(super) fn assignment(&mut self) -> Read<bool> {
        let (start, mark) = (self.at, self.tree.mark());
        let name = self.name().len();
        let sign = match (self.peek_at(name), self.peek_at(name + 1)) {
            (Some(b'='), _) => 1,
            (Some(b'+'), Some(b'=')) => 2,
            (Some(b'['), _) if name > 0 => return Err(NotPlain),
            _ => return Ok(false),
        };
        Self::require(name > 0 && !self.bytes[start].is_ascii_digit())?;
        self.tree.leaf("variable_name", start, start + name);
        self.tree.is(Field::Name);
        self.at += name + sign;
        match self.peek() {
            None | Some(b' ' | b'\t' | b'\n' | b';') => {}
            Some(b'(') => {
                self.array()?;
                self.tree.is(Field::Value);
            }
            Some(b')' | b'#' | b'=' | b'{' | b'[' | b'&' | b'|' | b'<' | b'>') => return Err(NotPlain),
            _ => {
                let from = self.at;
                self.literal()?;
                let mut bare =
                    self.bytes[from..self.at].iter().take_while(|byte| !matches!(byte, b'"' | b'\'' | b'('));
                Self::require(!bare.any(|byte| *byte == b'='))?;
                self.tree.is(Field::Value);
            }
        }
        self.tree.close("variable_assignment", start, self.at, mark);
        Ok(true)
    }

    pub(super) fn array(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.must(b"(")?;
        let mut elements = 0;
        loop {
            self.blanks();
            match self.peek() {
                Some(b'\n') => {
                    self.at += 1;
                    continue;
                }
                Some(b')') => break,
                Some(b'[' | b'{' | b'#') => return Err(NotPlain),
                _ => self.literal()?,
            }
            elements += 1;
            Self::require(elements < PIECES_MAX * 8)?;
        }
        self.must(b")")?;
        Self::require(self.is_end_of_word())?;
        self.tree.close("array", start, self.at, mark);
        Ok(())
    }

    /// A simple command, or assignments alone.
    pub(super) fn command(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        let mut assigned = 0;
        while self.assignment()? {
            assigned += 1;
            let end = self.at;
            let crossed = self.blanks();
            Self::require(!crossed && !self.redirects_follow())?;
            if matches!(self.peek(), None | Some(b'\n' | b';' | b'&' | b'|' | b')' | b'#')) {
                if assigned > 1 {
                    self.tree.close("variable_assignments", start, end, mark);
                }
                return Ok(());
            }
            Self::require(assigned < PIECES_MAX)?;
        }
        Self::require(!self.redirects_follow())?;
        let (at, own) = (self.at, self.tree.mark());
        if self.peek() == Some(b'$') {
            Self::require(self.peek_at(1).is_some_and(|byte| is_name(byte) || matches!(byte, b'{' | b'(')))?;
        }
        let is_colon = self.peek() == Some(b':') && matches!(self.peek_at(1), Some(b' ' | b';' | b'\n'));
        Self::require(
            !is_reserved(self.whole_name())
                && (is_colon
                    || self.peek().is_some_and(|byte| byte == b'"' || begins_command(byte) && byte != b'-')),
        )?;
        self.literal()?;
        // The grammar takes some signs behind a name for those of an assignment or an expansion.
        let is_plain = self.bytes[at..self.at].iter().all(|byte| begins_command(*byte));
        Self::require(
            is_plain || is_colon || !self.tree.is_last("concatenation") && !self.tree.is_last("word"),
        )?;
        self.tree.close("command_name", at, self.at, own);
        let mut end = self.at;
        loop {
            let crossed = self.blanks();
            if self.begins(b"<<<") {
                let (at, own) = (self.at, self.tree.mark());
                self.at += 3;
                self.blanks();
                self.literal()?;
                self.tree.close("herestring_redirect", at, self.at, own);
                end = self.at;
                continue;
            }
            match self.peek() {
                None | Some(b'\n' | b'#') if crossed => return Err(NotPlain),
                None | Some(b'\n' | b';' | b'&' | b'|' | b')' | b'#') => break,
                _ if self.begins(b"<(") => self.process()?,
                _ if self.redirects_follow() => break,
                Some(b'=') => return Err(NotPlain),
                _ if self.whole_name() == b"esac" => return Err(NotPlain),
                _ => self.literal()?,
            }
            end = self.at;
        }
        self.tree.close("command", start, end, mark);
        Ok(())
    }

    /// `<(…)`, a word of its own.
    pub(super) fn process(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.must(b"<(")?;
        self.statements()?;
        self.must(b")")?;
        Self::require(matches!(self.peek(), None | Some(b' ' | b'\n' | b';' | b')')))?;
        self.tree.close("process_substitution", start, self.at, mark);
        Ok(())
    }

    /// One word: what is joined without a blank between.
    pub(super) fn literal(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        let mut pieces = 0;
        while !self.is_end_of_word() {
            match self.peek() {
                Some(b'\'') => self.raw_string()?,
                Some(b'"') => self.string()?,
                Some(b'$') => {
                    // Behind a quoted piece the grammar may take it for another word.
                    let is_quoted = matches!(self.bytes[self.at.saturating_sub(1)], b'"' | b'\'');
                    Self::require(pieces == 0 || !is_quoted)?;
                    // And behind two pieces a number.
                    Self::require(pieces < 2 || !self.peek_at(1).is_some_and(|byte| byte.is_ascii_digit()))?;
                    self.expansion()?;
                }
                _ => {
                    self.run()?;
                    // The grammar takes some of these for two words.
                    Self::require(pieces == 0 || self.peek() != Some(b'$'))?;
                }
            }
            pieces += 1;
            Self::require(pieces < PIECES_MAX)?;
        }
        // A line that goes on in the middle of a word; and what stands before a redirection may be its descriptor.
        Self::require(pieces > 0 && !matches!(self.peek(), Some(b'\\' | b'<' | b'>')))?;
        if pieces > 1 {
            self.tree.close("concatenation", start, self.at, mark);
        }
        Ok(())
    }

    /// Text without quotes or expansions. Brackets are closed in it.
    pub(super) fn run(&mut self) -> Read {
        let start = self.at;
        // What comes before a quoted sign is a word of its own to the grammar.
        let is_joined = start > 0
            && !matches!(
                self.bytes[start - 1],
                b' ' | b'\t' | b'\n' | b'=' | b'(' | b'<' | b'>' | b'&' | b';' | b'|'
            );
        Self::require(!(is_joined && self.peek() == Some(b'\\')))?;
        let (mut braces, mut brackets, mut has_brackets) = (0, 0, false);
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => match self.peek_at(1) {
                    Some(next) if next.is_ascii_graphic() && !has_brackets => self.at += 1,
                    _ => break,
                },
                b'{' => {
                    let is_plain =
                        self.peek_at(1).is_some_and(|byte| is_name(byte) || matches!(byte, b'}' | b','));
                    let is_behind_dash = self.bytes[..start].ends_with(b"- ");
                    Self::require(is_plain && !is_behind_dash && braces == 0 && brackets == 0)?;
                    braces += 1;
                    has_brackets = true;
                }
                b'}' => {
                    Self::require(braces == 1 && brackets == 0)?;
                    braces -= 1;
                }
                b'[' => {
                    Self::require(brackets == 0 && braces == 0)?;
                    brackets += 1;
                    has_brackets = true;
                    Self::require(self.peek_at(1).is_some_and(is_name))?;
                }
                b']' => {
                    Self::require(brackets == 1)?;
                    brackets -= 1;
                }
                _ if is_literal(byte) => {}
                _ => break,
            }
            self.at += 1;
        }
        Self::require(self.at > start && braces == 0 && brackets == 0 && self.at - start < RUN_BYTES_MAX)?;
        Self::require(!has_brackets || self.is_end_of_word())?;
        self.tree.leaf("word", start, self.at);
        Ok(())
    }

    pub(super) fn raw_string(&mut self) -> Read {
        let start = self.at;
        let text = self.bytes[start + 1..].iter().position(|byte| *byte == b'\'');
        self.at = text.map_or(self.bytes.len(), |text| start + text + 2);
        Self::require(text.is_some())?;
        self.tree.leaf("raw_string", start, self.at);
        Ok(())
    }

    pub(super) fn string(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.must(b"\"")?;
        let mut run = self.at;
        let mut pieces = 0;
        loop {
            let byte = self.peek().ok_or(NotPlain)?;
            let is_end = matches!(byte, b'"' | b'$');
            let text = if is_end { &self.bytes[run..self.at] } else { b"" };
            let is_blank = text.trim_ascii().is_empty();
            // Where the grammar has an expansion begin that stands at the begin of another line, is not plain.
            Self::require(
                byte != b'$'
                    || !text.contains(&b'\n')
                    || !text[text.trim_ascii_end().len()..].contains(&b'\n'),
            )?;
            if is_end && run < self.at && !is_blank {
                Self::require(self.at - run < RUN_BYTES_MAX)?;
                self.tree.leaf("string_content", run, self.at);
            }
            match byte {
                b'"' => break,
                b'$' => {
                    self.expansion()?;
                    // To the grammar, blanks that stand alone before it are a part of it.
                    if is_blank {
                        self.tree.starts_at(run);
                    }
                    run = self.at;
                    pieces += 2;
                }
                b'\\' => {
                    Self::require(self.peek_at(1).is_some_and(|byte| byte.is_ascii_graphic()))?;
                    self.at += 2;
                }
                b'`' => return Err(NotPlain),
                b'\n' => {
                    pieces += 1;
                    self.at += 1;
                }
                b'\t' | b' '.. => self.at += 1,
                _ => return Err(NotPlain),
            }
            Self::require(pieces < PIECES_MAX)?;
        }
        self.at += 1;
        self.tree.close("string", start, self.at, mark);
        Ok(())
    }

    /// `$name`, `${name…}`, `$(…)` or `$((…))`.
    pub(super) fn expansion(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.must(b"$")?;
        if self.eat(b"((") {
            Self::require(self.peek() != Some(b'('))?;
            self.arithmetic()?;
            self.must(b"))")?;
            self.tree.close("arithmetic_expansion", start, self.at, mark);
        } else if self.eat(b"(") {
            let at = self.at;
            self.statements()?;
            Self::require(self.bytes[at..self.at].iter().any(|byte| !byte.is_ascii_whitespace()))?;
            self.must(b")")?;
            self.tree.close("command_substitution", start, self.at, mark);
        } else if self.eat(b"{") {
            self.braced()?;
            self.tree.close("expansion", start, self.at, mark);
        } else {
            match self.name().len() {
                0 if matches!(self.peek(), Some(b'@' | b'*' | b'#' | b'?' | b'!')) => {
                    let before = start.checked_sub(1).map(|before| self.bytes[before]);
                    Self::require(matches!(before, Some(b' ' | b'"' | b'=' | b':' | b'/' | b'[')))?;
                    self.at += 1;
                    Self::require(matches!(
                        self.peek(),
                        None | Some(b' ' | b'\t' | b'\n' | b'"' | b';' | b')' | b'/' | b'.' | b':' | b',')
                    ))?;
                }
                0 => return Err(NotPlain),
                name => self.at += name,
            }
            Self::require(self.peek().is_none_or(|byte| byte.is_ascii()))?;
            self.tree.close("simple_expansion", start, self.at, mark);
        }
        Ok(())
    }

    pub(super) fn braced(&mut self) -> Read {
        let is_length = self.eat(b"#");
        let name = self.name();
        Self::require(!name.is_empty())?;
        let is_variable = !name[0].is_ascii_digit();
        self.at += name.len();
        if is_variable && self.eat(b"[") {
            if !self.eat(b"@") && !self.eat(b"*") {
                let index = self.name().len();
                Self::require(index > 0)?;
                self.at += index;
            }
            return self.must(b"]}");
        }
        if is_length || self.begins(b"}") || self.eat(b"^^") || self.eat(b",,") {
            return self.must(b"}");
        }
        if self.eat(b":-") || self.eat(b"-") || self.eat(b":=") || self.eat(b":?") {
            let text = self.at;
            while self
                .peek()
                .is_some_and(|byte| is_name(byte) || matches!(byte, b'.' | b'/' | b':' | b'-' | b' '))
            {
                self.at += 1;
            }
            Self::require(self.at > text && self.bytes[text] != b' ')?;
        } else if self.eat(b"##") || self.eat(b"#") || self.eat(b"%%") || self.eat(b"%") {
            let text = self.at;
            while self.peek().is_some_and(|byte| is_name(byte) || matches!(byte, b'.' | b'*')) {
                self.at += 1;
            }
            Self::require(self.at > text)?;
        }
        self.must(b"}")
    }

    /// Operands and signs between them.
    pub(super) fn arithmetic(&mut self) -> Read {
        self.deeper(|plain| {
            loop {
                plain.blanks();
                if plain.eat(b"(") {
                    plain.arithmetic()?;
                    plain.must(b")")?;
                } else if plain.peek() == Some(b'$') {
                    Self::require(!plain.begins(b"$(("))?;
                    plain.expansion()?;
                } else {
                    let name = plain.name();
                    let is_number = name.iter().all(u8::is_ascii_digit);
                    Self::require(!name.is_empty() && (is_number || !name[0].is_ascii_digit()))?;
                    plain.at += name.len();
                    if !is_number && !plain.eat(b"++") {
                        plain.eat(b"--");
                    }
                }
                plain.blanks();
                let signs: [&[u8]; 14] = [
                    b"+=", b"-=", b"<=", b">=", b"==", b"!=", b"&&", b"||", b"+", b"-", b"*", b"/", b"%",
                    b"=",
                ];
                match signs.iter().find(|sign| plain.begins(sign)) {
                    Some(sign) => plain.at += sign.len(),
                    None if plain.peek() == Some(b')') => return Ok(()),
                    None if matches!(plain.peek(), Some(b'<' | b'>')) && plain.peek_at(1) == Some(b' ') => {
                        plain.at += 1
                    }
                    None => return Err(NotPlain),
                }
            }
        })
    }
}

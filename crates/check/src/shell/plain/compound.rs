//! What holds other statements: choices, loops, cases, functions; and tests.

use super::{PIECES_MAX, Plain, Read, is_name, is_reserved};
use crate::shell::tree::Field;

impl Plain<'_> {
    pub(super) fn condition(&mut self) -> Read {
        let mark = self.tree.mark();
        self.terminated()?;
        self.tree.first_is(mark, Field::Condition);
        Ok(())
    }

    pub(super) fn body(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.keyword(b"do")?;
        self.terminated()?;
        self.keyword(b"done")?;
        self.tree.close("do_group", start, self.at, mark);
        Ok(())
    }

    pub(super) fn braces(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.must(b"{")?;
        Self::require(matches!(self.peek(), Some(b' ' | b'\n')))?;
        self.terminated()?;
        self.must(b"}")?;
        Self::require(self.is_end_of_word())?;
        self.tree.close("compound_statement", start, self.at, mark);
        Ok(())
    }

    pub(super) fn function(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        let name = self.name();
        Self::require(!name.is_empty() && !name[0].is_ascii_digit() && !is_reserved(name))?;
        self.at += name.len();
        self.tree.leaf("word", start, self.at);
        self.tree.is(Field::Name);
        self.blanks();
        if self.eat(b"()") {
            self.blanks();
        }
        while self.peek() == Some(b'\n') {
            self.at += 1;
            self.blanks();
        }
        self.braces()?;
        self.tree.close("function_definition", start, self.at, mark);
        // What is redirected here would be the function's own.
        self.blanks();
        Self::require(!self.redirects_follow())
    }

    pub(super) fn choice(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.keyword(b"if")?;
        self.condition()?;
        self.keyword(b"then")?;
        self.terminated()?;
        while self.whole_name() == b"elif" {
            let (start, mark) = (self.at, self.tree.mark());
            self.keyword(b"elif")?;
            self.terminated()?;
            self.keyword(b"then")?;
            self.terminated()?;
            self.tree.close("elif_clause", start, self.at, mark);
        }
        if self.whole_name() == b"else" {
            let (start, mark) = (self.at, self.tree.mark());
            self.keyword(b"else")?;
            self.terminated()?;
            self.tree.close("else_clause", start, self.at, mark);
        }
        self.keyword(b"fi")?;
        self.tree.close("if_statement", start, self.at, mark);
        Ok(())
    }

    pub(super) fn each(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.keyword(b"for")?;
        self.blanks();
        let name = self.whole_name();
        Self::require(!name.is_empty() && !is_reserved(name))?;
        let (from, to) = (self.at, self.at + name.len());
        self.tree.leaf("variable_name", from, to);
        self.tree.is(Field::Variable);
        self.at = to;
        self.blanks();
        let is_of_all = self.peek() == Some(b';');
        if !is_of_all {
            self.keyword(b"in")?;
        }
        let mut words = usize::from(is_of_all);
        loop {
            self.blanks();
            match self.peek() {
                Some(b';' | b'\n') if words > 0 => break,
                _ => {
                    self.literal()?;
                    self.tree.is(Field::Value);
                }
            }
            words += 1;
            Self::require(words < PIECES_MAX * 8)?;
        }
        self.at += 1;
        self.space()?;
        self.body()?;
        self.tree.close("for_statement", start, self.at, mark);
        Ok(())
    }

    pub(super) fn cases(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        self.keyword(b"case")?;
        self.blanks();
        self.literal()?;
        self.blanks();
        self.keyword(b"in")?;
        loop {
            self.space()?;
            if self.whole_name() == b"esac" {
                break;
            }
            let (start, mark) = (self.at, self.tree.mark());
            loop {
                self.pattern()?;
                self.blanks();
                if !self.eat(b"|") {
                    break;
                }
                self.blanks();
            }
            self.must(b")")?;
            Self::require(matches!(self.peek(), Some(b' ' | b'\n')))?;
            self.space()?;
            if !self.begins(b";;") {
                self.statements()?;
            }
            Self::require(!self.bytes[..self.at].trim_ascii_end().ends_with(b"&"))?;
            self.must(b";;")?;
            Self::require(self.peek() != Some(b'&'))?;
            self.tree.close("case_item", start, self.at, mark);
        }
        self.keyword(b"esac")?;
        self.tree.close("case_statement", start, self.at, mark);
        Ok(())
    }

    /// One alternative of a case: nobody asks what it says.
    pub(super) fn pattern(&mut self) -> Read {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| is_name(byte) || matches!(byte, b'.' | b'*' | b'?' | b'/' | b'-'))
        {
            self.at += 1;
        }
        Self::require(self.at > start && self.bytes[start..self.at] != *b"esac")
    }

    /// `[ … ]` and `[[ … ]]`: one comparison, or several joined in the latter.
    pub(super) fn test(&mut self) -> Read {
        let (start, mark) = (self.at, self.tree.mark());
        let is_double = self.eat(b"[[");
        if !is_double {
            self.must(b"[")?;
        }
        Self::require(self.peek() == Some(b' '))?;
        loop {
            self.blanks();
            if self.begins(b"! ") {
                self.at += 1;
                self.blanks();
            }
            let is_unary = self.peek() == Some(b'-')
                && self.peek_at(1).is_some_and(|byte| byte.is_ascii_alphabetic())
                && self.peek_at(2) == Some(b' ');
            if is_unary {
                self.at += 2;
                self.blanks();
            }
            self.operand_of_test()?;
            self.blanks();
            if !is_unary {
                self.comparison(is_double)?;
            }
            if is_double && (self.eat(b"&& ") || self.eat(b"|| ")) {
                continue;
            }
            break;
        }
        self.must(if is_double { b"]]" } else { b"]" })?;
        Self::require(self.is_end_of_word())?;
        self.tree.close("test_command", start, self.at, mark);
        Ok(())
    }

    pub(super) fn operand_of_test(&mut self) -> Read {
        let is_plain = self
            .peek()
            .is_some_and(|byte| is_name(byte) || matches!(byte, b'"' | b'\'' | b'$' | b'/' | b'.'));
        Self::require(is_plain)?;
        self.literal()
    }

    pub(super) fn comparison(&mut self, is_double: bool) -> Read {
        let operators: [&[u8]; 9] =
            [b"= ", b"!= ", b"== ", b"-eq ", b"-ne ", b"-lt ", b"-le ", b"-gt ", b"-ge "];
        let Some(operator) = operators.iter().find(|operator| self.begins(operator)) else { return Ok(()) };
        self.at += operator.len();
        self.blanks();
        if !is_double || operator[0] == b'-' {
            self.operand_of_test()?;
        } else {
            Self::require(self.peek() == Some(b'"'))?;
            self.string()?;
        }
        Self::require(self.is_end_of_word())?;
        self.blanks();
        Ok(())
    }
}

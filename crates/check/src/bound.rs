//! Bounds what a hostile text may cost a parser: its size, its nesting, and the stack it is given.
//!
//! The parsers of Python and JavaScript descend recursively. Measured with 1 MB of one repeated piece (`(`, `[`, `-`, `x=>`, `a?`, …,
//! see `tests.rs`): at most 2.2 kB of stack for each level. Forms of one or two bytes for a level are refused before by
//! [`too_deep`]; the densest that is left took 0.5 kB of stack for each byte of source, and [`with_stack`] gives 1 kB.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest source that is checked.
pub const SOURCE_BYTES_MAX: usize = 1 << 20;
/// Most brackets that may be open at once.
pub const DEPTH_MAX: usize = 200;
/// Most `<` without a `>`: type arguments nest, comparisons do not.
const ANGLES_MAX: usize = 4000;
/// Most operators in a row.
const OPERATORS_MAX: usize = 1000;
/// Stack for each byte of source, and for any source.
const STACK_PER_BYTE: usize = 1 << 10;
const STACK_MIN: usize = 4 << 20;
/// Stack for any source that is parsed on the stack of its thread, if that has so much left and as much for each byte: a short program
/// need not have a stack mapped, filled in page by page and taken away again.
const STACK_IN_PLACE: usize = 512 << 10;

/// Why a source is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unchecked {
    /// Longer than [`SOURCE_BYTES_MAX`].
    TooLong,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// The parser gave up, or took too long.
    GaveUp,
    /// There are no rules for its language.
    NoRules,
}

impl Unchecked {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::TooLong => "the program is longer than 1 MiB, so it was not checked",
            Self::TooDeep => "the program is nested too deeply to be checked",
            Self::GaveUp => "the parser gave up on the program, so it was not checked",
            Self::NoRules => "no rules read this language, so the program was not checked",
        }
    }
}

/// Whether brackets or operators are nested so deeply that no person or model wrote it. Reads bytes, not tokens: brackets in strings
/// count too, and what slips through by closing brackets in comments pays six bytes for a level.
pub fn too_deep(source: &str) -> bool {
    let (mut depth, mut angles, mut operators) = (0_usize, 0_usize, 0_usize);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'<' => angles += 1,
            b'>' => angles = angles.saturating_sub(1),
            _ => {}
        }
        operators = match byte {
            b'!' | b'~' | b'-' | b'+' | b'*' | b'@' | b'&' | b'^' => operators + 1,
            b' ' | b'\t' | b'\r' | b'\n' | b'\\' => operators,
            _ => 0,
        };
        if depth > DEPTH_MAX || angles > ANGLES_MAX || operators > OPERATORS_MAX {
            return true;
        }
    }
    false
}

/// Does `parse` on a stack that is deep enough for any source of `bytes`: the thread's, or one of its own. A panic of the parser is
/// [`Unchecked::GaveUp`].
pub fn with_stack<T>(bytes: usize, parse: impl FnOnce() -> T) -> Result<T, Unchecked> {
    let depth = bytes.min(SOURCE_BYTES_MAX) * STACK_PER_BYTE;
    catch_unwind(AssertUnwindSafe(|| stacker::maybe_grow(STACK_IN_PLACE + depth, STACK_MIN + depth, parse)))
        .map_err(|_| Unchecked::GaveUp)
}

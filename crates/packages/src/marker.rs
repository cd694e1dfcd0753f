//! Environment markers: whether a text is one. They are passed on as they stand; the installer evaluates them.
//!
//! ```text
//! or   = and ("or" and)*        and = one ("and" one)*        one = "(" or ")" | side operator side
//! side = variable | 'text' | "text"        operator = < <= != == >= > ~= === in, not in
//! ```
//! The grammar is that of packaging.python.org/en/latest/specifications/dependency-specifiers (PEP 508).

use crate::{MARKER_BYTES_MAX, MARKER_DEPTH_MAX};

/// What may be asked of an environment; the ones with dots are older spellings, which uv and packaging still read.
const VARIABLES: [&str; 19] = [
    "python_version",
    "python_full_version",
    "os_name",
    "sys_platform",
    "platform_release",
    "platform_system",
    "platform_version",
    "platform_machine",
    "platform_python_implementation",
    "implementation_name",
    "implementation_version",
    "extra",
    "os.name",
    "sys.platform",
    "platform.version",
    "platform.machine",
    "platform.python_implementation",
    "python_implementation",
    "platform.release",
];

/// Whether a text is a marker of at most [`MARKER_BYTES_MAX`] bytes and [`MARKER_DEPTH_MAX`] brackets in each other.
pub(crate) fn is_marker(text: &str) -> bool {
    let mut rest = Rest { text, depth: 0 };
    text.len() <= MARKER_BYTES_MAX
        && text.bytes().all(|byte| (0x20..0x7F).contains(&byte) || byte == b'\t')
        && rest.any()
        && rest.blank().is_empty()
}

struct Rest<'a> {
    text: &'a str,
    depth: usize,
}

impl<'a> Rest<'a> {
    fn blank(&mut self) -> &'a str {
        self.text = self.text.trim_start_matches([' ', '\t']);
        self.text
    }

    fn sign(&mut self, sign: &str) -> bool {
        let after = self.blank().strip_prefix(sign);
        self.text = after.unwrap_or(self.text);
        after.is_some()
    }

    /// A word that no letter continues.
    fn word(&mut self, word: &str) -> bool {
        let after = self.blank().strip_prefix(word);
        let after = after.filter(|after| {
            !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_' || next == '.')
        });
        self.text = after.unwrap_or(self.text);
        after.is_some()
    }

    fn any(&mut self) -> bool {
        let mut fine = self.all();
        while fine && self.word("or") {
            fine = self.all();
        }
        fine
    }

    fn all(&mut self) -> bool {
        let mut fine = self.one();
        while fine && self.word("and") {
            fine = self.one();
        }
        fine
    }

    fn one(&mut self) -> bool {
        if self.sign("(") {
            self.depth += 1;
            let fine = self.depth <= MARKER_DEPTH_MAX && self.any() && self.sign(")");
            self.depth = self.depth.saturating_sub(1);
            return fine;
        }
        self.side() && self.operator() && self.side()
    }

    fn operator(&mut self) -> bool {
        let signs = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
        if signs.iter().any(|sign| self.sign(sign)) || self.word("in") {
            return true;
        }
        self.word("not") && self.word("in")
    }

    fn side(&mut self) -> bool {
        for quote in ['\'', '"'] {
            if let Some(inside) = self.blank().strip_prefix(quote) {
                let Some((inside, after)) = inside.split_once(quote) else { return false };
                self.text = after;
                // `\` would begin an escape for those who read the text as Python does.
                return !inside.contains('\\');
            }
        }
        VARIABLES.iter().any(|variable| self.word(variable))
    }
}

//! Why an entry is refused: which one, what is wrong with it, and what would be accepted.

use model::Rejection;
use std::fmt;

/// Most characters of an entry that a message repeats.
const SHOWN_MAX: usize = 120;

/// An entry that is not accepted. Its text is bounded, and control characters are written out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// The entry, as far as a message shows it.
    pub entry: String,
    /// Its line in the file, from 1, if it is from one.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub why: Why,
}

impl Refused {
    /// Refuses an entry.
    pub fn new(entry: &str, why: Why) -> Self {
        let entry = if entry.trim().is_empty() { "\"\"" } else { entry.trim() };
        Self { entry: shown(entry, SHOWN_MAX), line: None, why }
    }

    /// The same, with the line where the entry stands.
    pub fn at(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }

    /// As the caller's mistake in a field of a request.
    pub fn rejection(&self, field: &str) -> Rejection {
        Rejection::new(field, format!("{}{}: {}", Place(self.line), self.entry, self.why), self.why.hint())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}{}: {}; {}", Place(self.line), self.entry, self.why, self.why.hint())
    }
}

/// At most so many characters of a text, on one line, with what would act on a terminal written out.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for letter in text.chars().take(most) {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            letter => shown.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(out, "line {line}: "))
    }
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nothing is there.
    #[error("names no package")]
    Empty,
    /// More than a bound of `lib.rs`.
    #[error("has more than {max} {what}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        max: usize,
    },
    /// `name @ https://…`, `https://…`, `file:…`.
    #[error("is a direct URL")]
    Url,
    /// `git+https://…`, `github:…`, `user/repository`.
    #[error("is a version control system's address")]
    Vcs,
    /// `./x`, `x.whl`, `requirements.txt`.
    #[error("is a path")]
    Path,
    /// `-e x`.
    #[error("is an editable installation")]
    Editable,
    /// Any other option of an installer.
    #[error("has the option {0}")]
    Option(String),
    /// `-r` without a file.
    #[error("names no file")]
    NoFile,
    /// Not a name of a distribution.
    #[error("does not begin with a name of a package")]
    Name,
    /// Not a list of names.
    #[error("has extras that are not a list of names")]
    Extras,
    /// Not a list of version specifiers.
    #[error("has a version that is none: {0}")]
    Version(String),
    /// Not an environment marker.
    #[error("has a marker that is none")]
    Marker,
    /// Not a hash that protects.
    #[error("has a hash that is none")]
    Hash,
    /// `npm:other@1`.
    #[error("is an alias of another package")]
    Alias,
    /// Not TOML, or not JSON.
    #[error("cannot be read: {0}")]
    Syntax(String),
    /// A field of the wrong kind.
    #[error("has a field {field} that is not {kind}")]
    Field {
        /// Where it stands.
        field: &'static str,
        /// What it has to be.
        kind: &'static str,
    },
    /// Dependencies that only the project's own build can tell.
    #[error("has dynamic dependencies")]
    Dynamic,
    /// `tool.uv.sources` and what else would change where packages come from.
    #[error("has {0}, which says where packages come from")]
    Source(String),
    /// More than one block of metadata.
    #[error("has more than one block of script metadata")]
    Blocks,
    /// In a lock: not pinned to one version.
    #[error("is not pinned to one version by ==")]
    Unpinned,
    /// In a lock: no hash.
    #[error("has no hash")]
    Unhashed,
    /// Hashes were given, but none for this.
    #[error("has no --hash, and others of the list have")]
    HashMissing,
    /// No file of this release has a hash that was given.
    #[error("has no file with a hash that was asked for")]
    HashOther,
    /// In a lock: twice the same package under the same marker.
    #[error("is there twice")]
    Twice,
}

impl Why {
    /// What would be accepted.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "name a package, such as pandas>=2",
            Self::TooMuch { .. } => "ask for less",
            Self::Url | Self::Vcs => "name a release of the package index, such as name==1.0",
            Self::Path => {
                "name a package of the index; the files of a run are imported without being installed"
            }
            Self::Editable => "name a release of the package index, without -e",
            Self::Option(_) => "leave the option out; where packages come from is the operator's to say",
            Self::NoFile => "name a requirements file, such as -r requirements.txt",
            Self::Name => "begin with letters, digits, '.', '-' or '_', such as scikit-learn",
            Self::Extras => "write extras in brackets, such as requests[socks]",
            Self::Version(_) => "write versions such as >=2,<3 or ==1.5.*",
            Self::Marker => "write a marker such as ; python_version < \"3.11\"",
            Self::Hash => "write --hash=sha256: and 64 hexadecimal digits",
            Self::HashMissing => {
                "give hashes for everything that is installed, as uv pip compile --generate-hashes prints them, or for nothing"
            }
            Self::HashOther => {
                "compare the hash with that of the index; if it is right, the file was changed"
            }
            Self::Alias => "name the package itself",
            Self::Syntax(_) => "mend the file",
            Self::Field { .. } => "mend the field",
            Self::Dynamic => "list them in [project] dependencies",
            Self::Source(_) => "leave it out; where packages come from is the operator's to say",
            Self::Blocks => "keep one block, # /// script",
            Self::Unpinned | Self::Unhashed | Self::Twice => {
                "make the lock with uv pip compile --generate-hashes"
            }
        }
    }
}

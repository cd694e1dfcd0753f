//! Versions and version specifiers of PEP 440, as packaging.python.org/en/latest/specifications/version-specifiers has them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Most digits of one number: more would not fit, and no release has so many.
const DIGITS_MAX: usize = 18;

/// Why a text is not a version or a specifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not by PEP 440")]
pub struct Malformed;

/// A version, normalized. Versions compare by their order of release: `1.0.dev1 < 1.0a1 < 1.0 < 1.0+local < 1.0.post1`, and `1.0 == 1.0.0`.
#[derive(Debug, Clone)]
pub struct Version {
    epoch: u64,
    release: Vec<u64>,
    pre: Option<(Pre, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<Local>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Alpha,
    Beta,
    Candidate,
}

/// A segment of a local version: numbers come after words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Local {
    Word(String),
    Number(u64),
}

impl Version {
    /// The numbers of the release, as they were written: `3.13.0` has three.
    pub fn release(&self) -> &[u64] {
        &self.release
    }

    fn is_prerelease(&self) -> bool {
        self.pre.is_some() || self.dev.is_some()
    }

    fn trimmed(&self) -> &[u64] {
        let end = self.release.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
        &self.release[..end]
    }

    /// Whether `version` is above this one as `>` means it. Above 1.0 are neither 1.0+local nor 1.0.post1, and above 1.0.post1 comes 1.0.post2.dev0.
    fn is_exceeded_by(&self, version: &Self) -> bool {
        match (self.dev, self.post) {
            (Some(dev), _) => *version >= Self { dev: Some(dev + 1), ..self.public() },
            (None, Some(post)) => *version >= Self { post: Some(post + 1), dev: Some(0), ..self.public() },
            (None, None) => {
                let same = self.epoch == version.epoch
                    && self.trimmed() == version.trimmed()
                    && self.pre == version.pre;
                version > self && !same
            }
        }
    }

    fn public(&self) -> Self {
        Self { local: Vec::new(), ..self.clone() }
    }

    /// Whether the release begins with these numbers, missing ones being zeros.
    fn begins_with(&self, epoch: u64, prefix: &[u64]) -> bool {
        let padded = self.release.iter().copied().chain(std::iter::repeat(0));
        self.epoch == epoch && prefix.iter().copied().zip(padded).all(|(asked, is)| asked == is)
    }
}

/// The order of versions (packaging's `_cmpkey`, after PEP 440 "Summary of permitted suffixes and relative ordering").
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        // A development release of no pre-release comes before all of them; no pre-release at all comes after.
        let pre = |version: &Self| match (version.pre, version.post, version.dev) {
            (Some((kind, number)), ..) => (1, Some((kind, number))),
            (None, None, Some(_)) => (0, None),
            (None, ..) => (2, None),
        };
        let dev = |version: &Self| version.dev.map_or((1, 0), |number| (0, number));
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| self.trimmed().cmp(other.trimmed()))
            .then_with(|| pre(self).cmp(&pre(other)))
            .then_with(|| self.post.cmp(&other.post))
            .then_with(|| dev(self).cmp(&dev(other)))
            .then_with(|| self.local.cmp(&other.local))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        if self.epoch != 0 {
            write!(out, "{}!", self.epoch)?;
        }
        for (at, number) in self.release.iter().enumerate() {
            write!(out, "{}{number}", if at == 0 { "" } else { "." })?;
        }
        if let Some((kind, number)) = self.pre {
            let kind = match kind {
                Pre::Alpha => "a",
                Pre::Beta => "b",
                Pre::Candidate => "rc",
            };
            write!(out, "{kind}{number}")?;
        }
        self.post.map_or(Ok(()), |number| write!(out, ".post{number}"))?;
        self.dev.map_or(Ok(()), |number| write!(out, ".dev{number}"))?;
        for (at, part) in self.local.iter().enumerate() {
            out.write_str(if at == 0 { "+" } else { "." })?;
            match part {
                Local::Word(word) => out.write_str(word)?,
                Local::Number(number) => write!(out, "{number}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Version {
    type Err = Malformed;

    /// Reads a version in any spelling that PEP 440 normalizes (its appendix B); surrounding space is not a part of one.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let lower = text.to_ascii_lowercase();
        let mut rest = Rest(lower.strip_prefix('v').unwrap_or(&lower));
        let mut first = rest.number().ok_or(Malformed)?;
        let mut epoch = 0;
        if rest.take("!") {
            epoch = first;
            first = rest.number().ok_or(Malformed)?;
        }
        let mut release = vec![first];
        while let Some(after) = rest.0.strip_prefix('.').filter(|after| begins_with_digit(after)) {
            rest.0 = after;
            release.push(rest.number().ok_or(Malformed)?);
        }
        let pre = rest.suffix(&["alpha", "a", "beta", "b", "preview", "pre", "c", "rc"])?;
        let pre = pre.map(|(word, number)| (kind_of(word), number));
        let post = match rest.0.strip_prefix('-').filter(|after| begins_with_digit(after)) {
            Some(after) => {
                rest.0 = after;
                Some(rest.number().ok_or(Malformed)?)
            }
            None => rest.suffix(&["post", "rev", "r"])?.map(|(_, number)| number),
        };
        let dev = rest.suffix(&["dev"])?.map(|(_, number)| number);
        let local = if rest.take("+") { local(std::mem::take(&mut rest.0))? } else { Vec::new() };
        if !rest.0.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { epoch, release, pre, post, dev, local })
    }
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_digit())
}

fn kind_of(word: &str) -> Pre {
    match word {
        "alpha" | "a" => Pre::Alpha,
        "beta" | "b" => Pre::Beta,
        _ => Pre::Candidate,
    }
}

fn local(text: &str) -> Result<Vec<Local>, Malformed> {
    let part = |part: &str| {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Malformed);
        }
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Rest(part).number().map(Local::Number).ok_or(Malformed);
        }
        Ok(Local::Word(part.to_owned()))
    };
    text.split(['.', '-', '_']).map(part).collect()
}

/// What of a version is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, text: &str) -> bool {
        let after = self.0.strip_prefix(text);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    fn number(&mut self) -> Option<u64> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        let significant = number.trim_start_matches('0');
        (digits > 0 && significant.len() <= DIGITS_MAX).then(|| significant.parse().unwrap_or(0))
    }

    /// `[-_.]?(word)[-_.]?[0-9]*`; no number is 0.
    fn suffix(&mut self, words: &[&'static str]) -> Result<Option<(&'static str, u64)>, Malformed> {
        let separators = ['-', '_', '.'];
        let body = self.0.strip_prefix(separators).unwrap_or(self.0);
        let Some(word) = words.iter().copied().find(|word| body.starts_with(word)) else {
            return Ok(None);
        };
        let after = &body[word.len()..];
        let number = after.strip_prefix(separators).unwrap_or(after);
        // The regular expression takes the separator before no number too: `1.0a.` is `1.0a0`.
        self.0 = number;
        let number = if begins_with_digit(number) { self.number().ok_or(Malformed)? } else { 0 };
        Ok(Some((word, number)))
    }
}

/// How a specifier compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `~=`
    Compatible,
    /// `===`
    Identical,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `>`
    Above,
}

impl Operator {
    /// In the order in which a text is compared with them.
    const ALL: [(&'static str, Self); 8] = [
        ("===", Self::Identical),
        ("~=", Self::Compatible),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("<", Self::Below),
        (">", Self::Above),
    ];

    /// As it is written.
    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(text, _)| text)
    }

    /// The operator that a text begins with.
    pub(crate) fn prefix(text: &str) -> Option<(Self, &str)> {
        Self::ALL.iter().find_map(|(written, operator)| Some((*operator, text.strip_prefix(written)?)))
    }
}

/// One condition on a version: `>=2`, `==1.5.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Specifier {
    /// How it compares.
    pub operator: Operator,
    /// With what, as it was written.
    pub text: String,
    /// The same, read; none for `===`, which compares texts.
    pub version: Option<Version>,
    /// Whether `.*` follows the version.
    pub prefix: bool,
}

impl Specifier {
    /// Whether a version fulfils the condition. Pre-releases are not left out: that is the resolver's choice.
    pub fn allows(&self, version: &Version) -> bool {
        let Some(asked) = &self.version else { return version.to_string().eq_ignore_ascii_case(&self.text) };
        let equal = || {
            if self.prefix {
                version.begins_with(asked.epoch, &asked.release)
            } else if asked.local.is_empty() {
                version.public() == *asked
            } else {
                version == asked
            }
        };
        match self.operator {
            Operator::Identical => false,
            Operator::Equal => equal(),
            Operator::NotEqual => !equal(),
            Operator::AtMost => version.public() <= *asked,
            Operator::AtLeast => version.public() >= *asked,
            Operator::Compatible => {
                let series = &asked.release[..asked.release.len().saturating_sub(1)];
                version.public() >= *asked && version.begins_with(asked.epoch, series)
            }
            // Below 1.0 is below 1.0.dev0: its pre-releases are not meant.
            Operator::Below => {
                let first = Version { dev: Some(0), local: Vec::new(), ..asked.clone() };
                version < if asked.is_prerelease() { asked } else { &first }
            }
            Operator::Above => asked.is_exceeded_by(version),
        }
    }
}

impl fmt::Display for Specifier {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "{}{}", self.operator.text(), self.text)
    }
}

impl FromStr for Specifier {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (operator, rest) = Operator::prefix(text.trim_matches([' ', '\t'])).ok_or(Malformed)?;
        let text = rest.trim_matches([' ', '\t']);
        // PEP 508's `version`; what it leaves out would end the specifier, or the line, for whom it is passed on to.
        if text.is_empty()
            || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*+!".contains(&byte))
        {
            return Err(Malformed);
        }
        if operator == Operator::Identical {
            return Ok(Self { operator, text: text.to_owned(), version: None, prefix: false });
        }
        let whole = text.strip_suffix(".*");
        let version: Version = whole.unwrap_or(text).parse()?;
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        let plain = !version.is_prerelease() && version.post.is_none() && version.local.is_empty();
        let fits = match operator {
            _ if whole.is_some() => is_equality && plain,
            Operator::Compatible => version.release.len() > 1 && version.local.is_empty(),
            _ => is_equality || version.local.is_empty(),
        };
        if !fits {
            return Err(Malformed);
        }
        Ok(Self { operator, text: text.to_owned(), version: Some(version), prefix: whole.is_some() })
    }
}

/// Conditions of which all are to be fulfilled; none is always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Specifiers(pub Vec<Specifier>);

impl Specifiers {
    /// Whether a version fulfils all conditions, pre-releases not left out.
    pub fn allow(&self, version: &Version) -> bool {
        self.0.iter().all(|specifier| specifier.allows(version))
    }
}

impl fmt::Display for Specifiers {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for (at, specifier) in self.0.iter().enumerate() {
            write!(out, "{}{specifier}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Specifiers {
    type Err = Malformed;

    /// Reads conditions between commas; one more comma may end them, as packaging and uv have it.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() {
            return Ok(Self::default());
        }
        let text = text.strip_suffix(',').unwrap_or(text);
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

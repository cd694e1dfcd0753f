//! Secrets by reference: a program holds a placeholder, and only a request to the one host that a secret is for leaves with its value.
//!
//! A placeholder is replaced in the values of header fields, and in the user and password of `Authorization: Basic` (RFC 7617), nowhere
//! else: a path or a body is kept and shown by many a server. What comes back is masked as far as it comes back unchanged.

use crate::target::{Name, Target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest value, in bytes: it has to fit into a head.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Shortest value, in bytes: a shorter one is no secret, and would be masked everywhere.
pub const VALUE_BYTES_MIN: usize = 8;

/// A secret, and where it may go.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    placeholder: Vec<u8>,
    value: Vec<u8>,
    target: Target,
}

/// Why something is no secret: it is not what a header field can carry (RFC 9110 §5.5), without obs-text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} visible ASCII characters, spaces between them")]
pub struct BadSecret;

impl Secret {
    /// A secret for one host and port, and what a program holds in its place.
    ///
    /// # Errors
    /// [`BadSecret`].
    pub fn new(placeholder: &str, value: &[u8], target: Target) -> Result<Self, BadSecret> {
        check_value(value)?;
        Ok(Self { placeholder: placeholder.as_bytes().to_vec(), value: value.to_vec(), target })
    }
}

/// Says nothing of the value: it must not reach a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} for {})", self.placeholder.escape_ascii(), self.target)
    }
}

/// Whether a value can be in a header field and is long enough to be one.
///
/// # Errors
/// [`BadSecret`].
pub fn check_value(value: &[u8]) -> Result<(), BadSecret> {
    let fits = (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len())
        && value.iter().all(|byte| (b' '..=b'~').contains(byte))
        && value.trim_ascii().len() == value.len();
    if fits { Ok(()) } else { Err(BadSecret) }
}

/// A connection: of a client, of a server, or of either with TLS ended.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream that will be there, or an error of TLS.
pub type Ended<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream + 'a>>> + Send + 'a>>;

/// Ends TLS on both sides of the proxy, for the hosts that secrets are for.
pub trait Terminate: Send + Sync {
    /// Is the server of this name to a client that trusts us to be.
    fn accept<'a>(&'a self, name: &'a Name, client: Box<dyn Stream + 'a>) -> Ended<'a>;

    /// Is a client of the server, whose certificate must be good for this name.
    fn connect<'a>(&'a self, name: &'a Name, server: Box<dyn Stream + 'a>) -> Ended<'a>;
}

/// The secrets of one sandbox, and who ends TLS for them.
pub struct Secrets {
    secrets: Vec<Secret>,
    pub(crate) terminate: Box<dyn Terminate>,
}

impl Secrets {
    /// These, for requests that this terminator lets us read.
    #[must_use]
    pub fn new(mut secrets: Vec<Secret>, terminate: Box<dyn Terminate>) -> Self {
        // One placeholder may begin with another: the longer is looked for first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.placeholder.len()));
        Self { secrets, terminate }
    }

    /// Those for this host and port; none if there are none.
    pub(crate) fn of(&self, target: &Target) -> Option<Injector<'_>> {
        let secrets: Vec<&Secret> = self.secrets.iter().filter(|secret| secret.target == *target).collect();
        (!secrets.is_empty()).then_some(Injector { secrets })
    }

    /// Whether a placeholder is in these bytes of a request that nobody would put its secret into.
    pub(crate) fn is_named(&self, target: &Target, head: &[u8]) -> bool {
        let here = self.secrets.iter().filter(|secret| secret.target.name == target.name);
        here.into_iter().any(|secret| find(head, &secret.placeholder).is_some())
    }
}

/// The secrets for one host.
pub(crate) struct Injector<'a> {
    secrets: Vec<&'a Secret>,
}

impl Injector<'_> {
    /// The value of a header field with secrets in place of what stands for them.
    pub(crate) fn inject(&self, name: &str, value: &[u8]) -> Vec<u8> {
        if name == "authorization"
            && let Some((scheme, credentials)) = value.split_at_checked(6)
            && scheme.eq_ignore_ascii_case(b"basic ")
            && let Ok(plain) = STANDARD.decode(credentials.trim_ascii())
        {
            let filled = self.fill(&plain);
            if filled != plain {
                return format!("Basic {}", STANDARD.encode(filled)).into_bytes();
            }
        }
        self.fill(value)
    }

    fn fill(&self, text: &[u8]) -> Vec<u8> {
        let (mut filled, mut rest) = (Vec::with_capacity(text.len()), text);
        'next: while let [first, after @ ..] = rest {
            for secret in &self.secrets {
                if let Some(behind) = rest.strip_prefix(secret.placeholder.as_slice()) {
                    filled.extend_from_slice(&secret.value);
                    rest = behind;
                    continue 'next;
                }
            }
            filled.push(*first);
            rest = after;
        }
        filled
    }

    /// What masks these in an answer.
    pub(crate) fn mask(&self) -> Mask {
        let plain = self.secrets.iter().map(|secret| secret.value.clone());
        let encoded = self.secrets.iter().map(|secret| STANDARD.encode(&secret.value).into_bytes());
        Mask::new(plain.chain(encoded).collect())
    }
}

/// Puts asterisks over some words in a stream of bytes, wherever each occurs, also where they come in pieces or overlap. Lengths stay as they are.
#[derive(Debug)]
pub struct Mask {
    words: Vec<Vec<u8>>,
    longest: usize,
    /// The end of what came, if a word may begin in it, as it came.
    held: Vec<u8>,
    /// Which bytes of it are of a word.
    marked: Vec<bool>,
}

impl Mask {
    /// One for these words; an empty one is none.
    #[must_use]
    pub fn new(mut words: Vec<Vec<u8>>) -> Self {
        words.retain(|word| !word.is_empty());
        let longest = words.iter().map(Vec::len).max().unwrap_or_default();
        Self { words, longest, held: Vec::new(), marked: Vec::new() }
    }

    /// Masks what came; what may be the beginning of a word is kept until more comes.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        self.marked.resize(self.held.len(), false);
        for word in &self.words {
            // What ended in what was there before was found before.
            let mut from = before.saturating_sub(word.len() - 1);
            let mut done = 0;
            while let Some(at) = find(&self.held[from..], word) {
                let (start, end) = (from + at, from + at + word.len());
                self.marked[start.max(done)..end].fill(true);
                (from, done) = (start + 1, end);
            }
        }
        let held = &self.held;
        let begun = |at: usize| {
            let end = &held[at..];
            self.words.iter().any(|word| word.len() > end.len() && word.starts_with(end))
        };
        let from = held.len().saturating_sub(self.longest.saturating_sub(1));
        let cut = (from..held.len()).find(|at| begun(*at)).unwrap_or(held.len());
        self.release(cut)
    }

    /// What was kept: nothing follows it.
    pub fn end(&mut self) -> Vec<u8> {
        self.release(self.held.len())
    }

    fn release(&mut self, count: usize) -> Vec<u8> {
        let masked = self.held.drain(..count).zip(self.marked.drain(..count));
        masked.map(|(byte, is_marked)| if is_marked { b'*' } else { byte }).collect()
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, value: &str) -> Secret {
        let placeholder = format!("fireclay-secret-{name}");
        Secret::new(&placeholder, value.as_bytes(), Target::parse(b"a.test:443", None).unwrap()).unwrap()
    }

    #[test]
    fn fields_get_values_and_nothing_else_does() {
        let (key, longer) = (secret("KEY", "s3cr3t-value"), secret("KEY_2", "another-one"));
        let injector = Injector { secrets: vec![&longer, &key] };
        let inject =
            |name: &str, value: &str| String::from_utf8(injector.inject(name, value.as_bytes())).unwrap();
        assert_eq!(inject("authorization", "Bearer fireclay-secret-KEY"), "Bearer s3cr3t-value");
        assert_eq!(inject("x-api-key", "fireclay-secret-KEY_2"), "another-one");
        assert_eq!(
            inject("cookie", "a=fireclay-secret-KEY; b=fireclay-secret-KE"),
            "a=s3cr3t-value; b=fireclay-secret-KE"
        );
        let basic = format!("basic {}", STANDARD.encode("me:fireclay-secret-KEY"));
        assert_eq!(inject("authorization", &basic), format!("Basic {}", STANDARD.encode("me:s3cr3t-value")));
        let other = format!("Basic {}", STANDARD.encode("me:word"));
        assert_eq!(inject("authorization", &other), other);
        assert_eq!(inject("authorization", "Basic no base64!"), "Basic no base64!");
    }

    #[test]
    fn a_value_is_masked_wherever_it_is_cut() {
        let key = secret("KEY", "abcabcabd");
        let text = b"x abcabcabcabd y abcabcab abcabcabd";
        let want = b"x abc********* y abcabcab *********".to_vec();
        for piece in 1..text.len() {
            let mut mask = Injector { secrets: vec![&key] }.mask();
            let mut masked: Vec<u8> = text.chunks(piece).flat_map(|piece| mask.pass(piece)).collect();
            masked.extend(mask.end());
            assert_eq!(masked, want, "pieces of {piece}");
        }
        // One value within another, and one that begins in another: each is whole to who knows it.
        let (inner, outer) = (secret("IN", "abcdefgh"), secret("OUT", "1-abcdefgh-2"));
        for piece in 1..20 {
            let mut mask = Injector { secrets: vec![&inner, &outer] }.mask();
            let text = b"1-abcdefgh-2 1-abcdefgh- abcdefgh";
            let mut masked: Vec<u8> = text.chunks(piece).flat_map(|piece| mask.pass(piece)).collect();
            masked.extend(mask.end());
            assert_eq!(masked, b"************ 1-********- ********".to_vec(), "pieces of {piece}");
        }
        let encoded = STANDARD.encode("abcabcabd");
        let mut mask = Injector { secrets: vec![&key] }.mask();
        assert_eq!(mask.pass(encoded.as_bytes()), vec![b'*'; encoded.len()]);
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_is_shown() {
        let target = Target::parse(b"a.test:443", None).unwrap();
        for value in ["short", "two\r\nlines", " space before", "n\u{f6}n-ascii"] {
            assert_eq!(Secret::new("x", value.as_bytes(), target.clone()), Err(BadSecret), "{value}");
        }
        assert_eq!(
            format!("{:?}", secret("KEY", "s3cr3t-value")),
            "Secret(fireclay-secret-KEY for a.test:443)"
        );
    }
}

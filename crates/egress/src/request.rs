//! Reads the head of a request to a proxy, strictly: what two readers could read in two ways is refused, not mended (RFC 9112 §11.2).
//! A plain request is written anew from what was read, so that nothing reaches a server which was not understood here. Pure.

use crate::target::{BadTarget, Target};
use thiserror::Error;

/// Longest head, with its last line.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Most fields of a head.
pub const FIELDS_MAX: usize = 128;

const METHOD_BYTES_MAX: usize = 16;

/// Fields that are not passed on: those of the connection (RFC 9110 §7.6.1), and those that are written anew.
const KEPT_BACK: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What was asked of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `CONNECT HOST:PORT` (RFC 9110 §9.3.6).
    Tunnel(Target),
    /// A request of another method for an `http://` URL (RFC 9112 §3.2.2).
    Plain(Plain),
}

/// A request over plain HTTP, read and written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Whom it is for.
    pub target: Target,
    /// Its method, in upper case.
    pub method: String,
    /// The head as the server gets it: origin-form, one Host, one framing, `Connection: close`, nothing of the connection before.
    pub head: Vec<u8>,
    /// How long its body is.
    pub body: Body,
    /// Whether the client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

/// How long the body of a request is (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// As many bytes, often 0.
    Length(u64),
    /// Until its last chunk.
    Chunked,
}

/// Why a head is not a request that this proxy serves.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadHead {
    /// Longer than [`HEAD_BYTES_MAX`].
    #[error("the head of the request is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`FIELDS_MAX`].
    #[error("the request has more than {FIELDS_MAX} header fields")]
    TooManyFields,
    /// A line feed without a carriage return before it, a carriage return without a line feed behind it, or a NUL.
    #[error("the head of the request has a bare CR, a bare LF or a NUL")]
    Control,
    /// The bytes end before the empty line.
    #[error("the request ended within its head")]
    Unfinished,
    /// Not `METHOD SP TARGET SP HTTP/1.1` or `HTTP/1.0`.
    #[error("the request line is not METHOD TARGET HTTP/1.1")]
    Line,
    /// A path or a URL of another kind where an `http://` URL should be.
    #[error("this is a proxy: it takes http:// URLs, and CONNECT for everything else")]
    Form,
    /// Inside of TLS, something else than a path (RFC 9112 §3.2.1).
    #[error("the request inside of TLS is not for a path of its server")]
    Origin,
    /// A scheme that is not passed on.
    #[error("the scheme is not http: only http:// URLs and CONNECT are served")]
    Scheme,
    /// The host or port asked for is not one.
    #[error("the host `{0}` {1}")]
    Target(String, BadTarget),
    /// A line that is not `NAME: VALUE`, continues the one before, or has a space before its colon.
    #[error("a header field is not NAME: VALUE")]
    Field,
    /// A field that may be there once, more than once.
    #[error("the header field {0} is there more than once")]
    Twice(&'static str),
    /// A length and an encoding, or a length or an encoding that is not understood.
    #[error("the length of the body is not said in exactly one way")]
    Framing,
    /// No Host in HTTP/1.1, or one that is not the target's (RFC 9112 §3.2).
    #[error("the header field Host is not the host of the request")]
    Host,
    /// `Connection` names a field that says where a request goes or ends.
    #[error("the header field Connection names a field that it may not")]
    Connection,
    /// Another protocol is asked for.
    #[error("upgrades, such as WebSocket over plain HTTP, are not passed on")]
    Upgrade,
    /// An expectation that is not `100-continue`.
    #[error("the header field Expect is not 100-continue")]
    Expect,
}

/// Whether bytes are a method that this proxy reads: upper case letters and hyphens.
pub(crate) fn is_method(text: &[u8]) -> bool {
    let fits = !text.is_empty() && text.len() <= METHOD_BYTES_MAX;
    fits && text.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-')
}

/// Returns where the head ends, behind its empty line, or nothing if more bytes are needed. `seen` bytes were looked at before.
///
/// # Errors
/// [`BadHead::Control`] and [`BadHead::TooLong`] as soon as they are certain.
pub fn head_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, BadHead> {
    let from = seen.saturating_sub(3).min(bytes.len());
    for at in from..bytes.len().min(HEAD_BYTES_MAX) {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        match bytes[at] {
            0 => return Err(BadHead::Control),
            b'\n' if before != Some(b'\r') => return Err(BadHead::Control),
            other if other != b'\n' && before == Some(b'\r') => return Err(BadHead::Control),
            b'\n' if bytes[..=at].ends_with(b"\r\n\r\n") => return Ok(Some(at + 1)),
            _ => {}
        }
    }
    if bytes.len() >= HEAD_BYTES_MAX { Err(BadHead::TooLong) } else { Ok(None) }
}

/// Reads a head, from its first byte to its empty line.
///
/// # Errors
/// [`BadHead`] for everything that is not exactly what the RFCs let a client send to a proxy.
pub fn parse(head: &[u8]) -> Result<Request, BadHead> {
    let (method, target, version, fields) = read(head)?;
    let body = body(&fields, version)?;
    if method == "CONNECT" {
        let target = read_target(target, None)?;
        // Host goes to nobody. It may be there once; some clients write the proxy's own into it (Node's `http.request`).
        single(&fields, "host")?;
        return if body == Body::Length(0) { Ok(Request::Tunnel(target)) } else { Err(BadHead::Framing) };
    }
    let (target, path) = url(target, &method)?;
    let line = Line { method, path, version, target, default_port: 80 };
    Ok(Request::Plain(plain(line, &fields, body, &|_, value| value.to_vec())?))
}

/// Reads the head of a request inside of TLS that was ended here: in origin-form, for the target of the tunnel and no other. Values of
/// fields go through `fill`; an answer that is compressed is not asked for, so that it can be read.
///
/// # Errors
/// [`BadHead`], as [`parse`].
pub(crate) fn parse_within(
    head: &[u8],
    target: &Target,
    fill: &dyn Fn(&str, &[u8]) -> Vec<u8>,
) -> Result<Plain, BadHead> {
    let (method, path, version, mut fields) = read(head)?;
    let body = body(&fields, version)?;
    if method == "CONNECT" || !(path.starts_with('/') || method == "OPTIONS" && path == "*") {
        return Err(BadHead::Origin);
    }
    fields.retain(|field| field.name != "accept-encoding");
    let (target, path) = (target.clone(), path.to_owned());
    plain(Line { method, path, version, target, default_port: 443 }, &fields, body, fill)
}

fn plain(
    line: Line,
    fields: &[Field<'_>],
    body: Body,
    fill: &dyn Fn(&str, &[u8]) -> Vec<u8>,
) -> Result<Plain, BadHead> {
    host(fields, &line)?;
    let named = connection(fields)?;
    upgrade(fields)?;
    let expects_continue = expect(fields)? && line.version == Version::One;
    let head = rewrite(&line, fields, &named, body, fill);
    let Line { target, method, .. } = line;
    Ok(Plain { target, method, head, body, expects_continue })
}

// Reads a whole head: method, target, version, fields.
fn read(head: &[u8]) -> Result<(String, &str, Version, Vec<Field<'_>>), BadHead> {
    let end = head_end(head, 0)?.ok_or(BadHead::Unfinished)?;
    if end != head.len() {
        return Err(BadHead::Control);
    }
    // Each line ends in CR LF, and there is no other CR or LF: `head_end` looked at each.
    let mut lines =
        head[..end - 4].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (method, target, version) = request_line(lines.next().unwrap_or_default())?;
    let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    if fields.len() > FIELDS_MAX {
        Err(BadHead::TooManyFields)
    } else {
        Ok((method, target, version, fields))
    }
}

/// Returns what was asked for, however wrong, for people to read: printable ASCII, at most 200 characters.
#[must_use]
pub fn asked(head: &[u8]) -> String {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let text =
        target.iter().take(200).flat_map(|byte| byte.escape_ascii()).map(char::from).collect::<String>();
    let authority = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    authority.split('/').next().unwrap_or_default().chars().take(200).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    // HTTP/1.0
    Zero,
    // HTTP/1.1
    One,
}

// The line of a request that is passed on, and whom it is for.
struct Line {
    method: String,
    path: String,
    version: Version,
    target: Target,
    // The port of its scheme, which its Host leaves out.
    default_port: u16,
}

struct Field<'a> {
    // In lower case.
    name: String,
    written: &'a str,
    value: &'a [u8],
}

fn request_line(line: &[u8]) -> Result<(String, &str, Version), BadHead> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return Err(BadHead::Line) };
    let version = match version {
        b"HTTP/1.1" => Version::One,
        b"HTTP/1.0" => Version::Zero,
        _ => return Err(BadHead::Line),
    };
    if !is_method(method) || target.is_empty() {
        return Err(BadHead::Line);
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        // The host is looked at first, so that a letter which only looks like another is called so.
        let text = target.strip_prefix(b"http://").unwrap_or(target);
        let authority = text.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next().unwrap_or_default();
        read_target_bytes(authority, Some(80))?;
        return Err(BadHead::Line);
    }
    let target = std::str::from_utf8(target).map_err(|_| BadHead::Line)?;
    Ok((String::from_utf8_lossy(method).into_owned(), target, version))
}

fn read_target(authority: &str, default_port: Option<u16>) -> Result<Target, BadHead> {
    read_target_bytes(authority.as_bytes(), default_port)
}

fn read_target_bytes(authority: &[u8], default_port: Option<u16>) -> Result<Target, BadHead> {
    let shown = authority.iter().take(200).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    Target::parse(authority, default_port).map_err(|why| BadHead::Target(shown, why))
}

// Returns the target of a URL and its path, as origin-form wants it (RFC 9112 §3.2.1).
fn url(target: &str, method: &str) -> Result<(Target, String), BadHead> {
    let (scheme, rest) = target.split_once("://").ok_or(BadHead::Form)?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(BadHead::Scheme);
    }
    if rest.contains('#') {
        return Err(BadHead::Line);
    }
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    let path = match path.chars().next() {
        None if method == "OPTIONS" => "*".to_owned(),
        None => "/".to_owned(),
        Some('?') => format!("/{path}"),
        Some(_) => path.to_owned(),
    };
    Ok((read_target(authority, Some(80))?, path))
}

fn field(line: &[u8]) -> Result<Field<'_>, BadHead> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(BadHead::Field)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_token = !name.is_empty() && name.iter().all(is_token_byte);
    let is_value = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    let written = std::str::from_utf8(name).map_err(|_| BadHead::Field)?;
    if is_token && is_value {
        Ok(Field { name: written.to_ascii_lowercase(), written, value })
    } else {
        Err(BadHead::Field)
    }
}

// RFC 9110 §5.6.2.
fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn single<'a>(fields: &[Field<'a>], name: &'static str) -> Result<Option<&'a [u8]>, BadHead> {
    let mut values = fields.iter().filter(|field| field.name == name).map(|field| field.value);
    let first = values.next();
    if values.next().is_some() { Err(BadHead::Twice(name)) } else { Ok(first) }
}

fn body(fields: &[Field<'_>], version: Version) -> Result<Body, BadHead> {
    match (single(fields, "content-length")?, single(fields, "transfer-encoding")?) {
        (None, None) => Ok(Body::Length(0)),
        (Some(digits), None) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            length.map(Body::Length).ok_or(BadHead::Framing)
        }
        (None, Some(coding)) if version == Version::One && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Body::Chunked)
        }
        _ => Err(BadHead::Framing),
    }
}

fn host(fields: &[Field<'_>], line: &Line) -> Result<(), BadHead> {
    match single(fields, "host")? {
        None if line.version == Version::One => Err(BadHead::Host),
        None => Ok(()),
        Some(host) => match Target::parse(host, Some(line.default_port)) {
            Ok(said) if said == line.target => Ok(()),
            _ => Err(BadHead::Host),
        },
    }
}

// Returns the fields that are of this connection only, in lower case.
fn connection(fields: &[Field<'_>]) -> Result<Vec<String>, BadHead> {
    let mut named = Vec::new();
    for field in fields.iter().filter(|field| field.name == "connection") {
        for option in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if !option.iter().all(is_token_byte) {
                return Err(BadHead::Field);
            }
            let option = String::from_utf8_lossy(option).to_ascii_lowercase();
            if ["host", "content-length", "transfer-encoding", "expect"].contains(&option.as_str()) {
                return Err(BadHead::Connection);
            }
            named.push(option);
        }
    }
    Ok(named)
}

fn upgrade(fields: &[Field<'_>]) -> Result<(), BadHead> {
    // `h2c` may be ignored, and clients that offer it go on without (RFC 9110 §7.8).
    let mut asked = fields.iter().filter(|field| field.name == "upgrade");
    if asked.all(|field| field.value.eq_ignore_ascii_case(b"h2c")) { Ok(()) } else { Err(BadHead::Upgrade) }
}

fn expect(fields: &[Field<'_>]) -> Result<bool, BadHead> {
    match single(fields, "expect")? {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(BadHead::Expect),
    }
}

fn rewrite(
    line: &Line,
    fields: &[Field<'_>],
    named: &[String],
    body: Body,
    fill: &dyn Fn(&str, &[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let Line { method, path, version, target, default_port } = line;
    let minor = if *version == Version::One { '1' } else { '0' };
    let port = if target.port == *default_port { String::new() } else { format!(":{}", target.port) };
    let mut head = format!("{method} {path} HTTP/1.{minor}\r\nHost: {}{port}\r\n", target.name).into_bytes();
    for Field { name, written, value } in fields {
        if KEPT_BACK.contains(&name.as_str()) || name.starts_with("proxy-") || named.contains(name) {
            continue;
        }
        head.extend([written.as_bytes(), b": ", &fill(name, value), b"\r\n"].concat());
    }
    let said = fields.iter().any(|field| field.name == "content-length");
    match body {
        Body::Chunked => head.extend(b"Transfer-Encoding: chunked\r\n"),
        Body::Length(length) if said => head.extend(format!("Content-Length: {length}\r\n").into_bytes()),
        Body::Length(_) => {}
    }
    head.extend(b"Connection: close\r\n\r\n");
    head
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

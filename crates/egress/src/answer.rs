//! What a client is told when it is refused: as HTTP while it still listens to the proxy, as an alert once it speaks TLS.

use crate::refusal::Refusal;

/// A tunnel is there (RFC 9110 §9.3.6: no body, no length).
pub(crate) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// The body may come (RFC 9110 §15.2.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The fatal alert `access_denied` (RFC 8446 §6.2), in a record of its own.
pub(crate) const ACCESS_DENIED: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// Longest reason phrase, and text of a reason.
const REASON_CHARS_MAX: usize = 400;

/// Returns an answer in HTTP. The reason is in the phrase, too: of a CONNECT that failed, many clients show nothing else.
pub(crate) fn http(refusal: &Refusal) -> Vec<u8> {
    let reason = reason(refusal);
    let (status, length) = (refusal.status(), reason.len() + "fireclay egress: \n".len());
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n\
        fireclay egress: {reason}\n"
    )
    .into_bytes()
}

/// Returns why, in printable ASCII and bounded.
pub(crate) fn reason(refusal: &Refusal) -> String {
    let printable = |letter: char| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' };
    refusal.to_string().chars().take(REASON_CHARS_MAX).map(printable).collect()
}

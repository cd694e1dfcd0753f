//! What is said on the way to a guest and back: nothing of ours reaches it, and nothing of its is obeyed by anybody but the page itself.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers that are about one connection (RFC 9110, 7.6.1). `Upgrade` is put back where one is wanted.
const HOPS: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What a client says of others, and what is answered before the guest is asked.
const HEARSAY: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "expect"];
/// What a guest may not say: that browsers are to forget what other hosts of our domain have stored, or go elsewhere for this one.
const OVERREACH: [&str; 3] = ["alt-svc", "clear-site-data", "strict-transport-security"];
/// What proxies before us would obey: files to send, buffers to use.
const ORDERS: [&str; 3] = ["x-accel-", "x-sendfile", "x-lighttpd-"];

fn without_hops(headers: &mut HeaderMap) {
    // Two lengths of one body are none: the one counts that comes in pieces (RFC 9112, 6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let connection = headers.get_all(header::CONNECTION).iter();
    let named: Vec<HeaderName> = connection
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // The length of a body is not a thing of the connection, whatever a peer says.
    for name in named.into_iter().filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST) {
        headers.remove(name);
    }
    HOPS.into_iter().for_each(|name| drop(headers.remove(name)));
}

/// Whether a header has this word among others.
fn says(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// Whether a request or an answer is about a WebSocket (RFC 6455, 4.1).
pub fn is_websocket(headers: &HeaderMap) -> bool {
    says(headers, header::UPGRADE, "websocket") && says(headers, header::CONNECTION, "upgrade")
}

/// Puts back what [`without_hops`] took from one that is.
fn upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// A request's headers as the guest gets them: without our cookie, without a key of ours.
pub fn inward(mut headers: HeaderMap, cookie: &str, keeps_authorization: bool, scheme: &str) -> HeaderMap {
    let websocket = is_websocket(&headers);
    without_hops(&mut headers);
    HEARSAY.into_iter().for_each(|name| drop(headers.remove(name)));
    if !keeps_authorization {
        headers.remove(header::AUTHORIZATION);
        headers.remove("x-api-key");
    }
    // Cookies know no ports: what logs in at the console may come here too.
    let of_ours = [cookie.as_bytes(), crate::console::COOKIE.as_bytes()];
    let others = pairs(&headers).filter(|pair| !of_ours.contains(&name_of(pair)));
    let others = others.collect::<Vec<_>>().join(&b"; "[..]);
    headers.remove(header::COOKIE);
    if let (false, Ok(others)) = (others.is_empty(), HeaderValue::from_bytes(&others)) {
        headers.insert(header::COOKIE, others);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert("x-forwarded-host", host);
    }
    if let Ok(scheme) = HeaderValue::from_str(scheme) {
        headers.insert("x-forwarded-proto", scheme);
    }
    if websocket {
        upgrade(&mut headers);
    } else {
        // One connection for each request: what a guest says after its answer is nobody's.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers
}

/// The cookies of a request, in their order, as `name=value`. They may be of any bytes: a page sets them.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    let pairs = values.flat_map(|value| value.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty())
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii_end()
}

/// The values of all cookies of this name: a page of another host of our domain can add one, but take none away.
pub fn cookies_called<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let ours = pairs(headers).filter(move |pair| name_of(pair) == name.as_bytes());
    ours.filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('=')).map(|(_, value)| value.trim())
}

/// An answer's headers as the browser gets them.
pub fn outward(mut headers: HeaderMap, cookie: &str) -> HeaderMap {
    let websocket = is_websocket(&headers);
    without_hops(&mut headers);
    OVERREACH.into_iter().for_each(|name| drop(headers.remove(name)));
    let orders: Vec<HeaderName> = headers
        .keys()
        .filter(|name| ORDERS.iter().any(|order| name.as_str().starts_with(order)))
        .cloned()
        .collect();
    orders.into_iter().for_each(|name| drop(headers.remove(name)));
    let harmless: Vec<HeaderValue> =
        headers.get_all(header::SET_COOKIE).iter().filter(|value| is_own(value, cookie)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for value in harmless {
        headers.append(header::SET_COOKIE, value);
    }
    // Pages of two ports of one domain cannot agree to be one origin (`document.domain`).
    headers.insert("origin-agent-cluster", HeaderValue::from_static("?1"));
    if websocket {
        upgrade(&mut headers);
    }
    headers
}

/// Whether a guest's cookie is for its own host alone, and is not called as ours.
fn is_own(value: &HeaderValue, ours: &str) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let mut parts = text.split(';').map(|part| part.split_once('=').map_or(part, |(name, _)| name).trim());
    let name = parts.next().unwrap_or_default();
    let kept = [ours, crate::console::COOKIE].iter().all(|own| !name.eq_ignore_ascii_case(own));
    kept && !parts.any(|attribute| attribute.eq_ignore_ascii_case("domain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append::<HeaderName>(name, value);
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_guest_is_told_nothing_of_ours() {
        let said = map(&[
            ("host", "8000-x.localhost"),
            ("authorization", "Bearer fc_1"),
            ("x-api-key", "fc_1"),
            ("cookie", "a=1; fireclay-port=secret"),
            ("cookie", "fireclay-port=tossed; b=2"),
            ("connection", "close, x-secret, content-length"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("te", "trailers"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("accept", "*/*"),
        ]);
        let told = inward(said.clone(), "fireclay-port", false, "http");
        let wanted = [
            "accept",
            "connection",
            "content-length",
            "cookie",
            "host",
            "x-forwarded-host",
            "x-forwarded-proto",
        ];
        assert_eq!(names(&told), wanted);
        assert_eq!(
            (&told["cookie"], &told["connection"]),
            (&"a=1; b=2".parse().unwrap(), &"close".parse().unwrap())
        );
        assert!(inward(said, "fireclay-port", true, "http").contains_key("authorization"));
        let both = map(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        assert_eq!(names(&inward(both, "c", false, "http")), ["connection", "x-forwarded-proto"]);
    }

    #[test]
    fn cookies_of_any_bytes_hide_no_other() {
        let mut said = map(&[("cookie", "c=tossed")]);
        said.append("cookie", HeaderValue::from_bytes(b"x=\xff; c=real;;y").unwrap());
        assert_eq!(cookies_called(&said, "c").collect::<Vec<_>>(), ["tossed", "real"]);
        assert_eq!(
            inward(said, "c", false, "http")["cookie"],
            HeaderValue::from_bytes(b"x=\xff; y").unwrap()
        );
    }

    #[test]
    fn an_upgrade_passes_and_no_other() {
        let asks = |to: &str| {
            map(&[("connection", "keep-alive, Upgrade"), ("upgrade", to), ("sec-websocket-key", "k")])
        };
        let told = inward(asks("WebSocket"), "c", false, "http");
        assert_eq!(
            (&told["connection"], &told["upgrade"]),
            (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
        let told = inward(asks("h2c"), "c", false, "http");
        assert!(!told.contains_key("upgrade") && told["connection"] == "close");
    }

    #[test]
    fn a_guest_speaks_for_its_own_host_alone() {
        let said = map(&[
            ("set-cookie", "own=1; Path=/; HttpOnly"),
            ("set-cookie", "wide=1; Domain=localhost"),
            ("set-cookie", "wide=1; path=/;DOMAIN = .localhost"),
            ("set-cookie", "Fireclay-Port=mine"),
            ("set-cookie", "fireclay-port =mine"),
            ("clear-site-data", "\"*\""),
            ("alt-svc", "h2=\"evil:443\""),
            ("strict-transport-security", "max-age=1; includeSubDomains"),
            ("x-accel-redirect", "/etc/passwd"),
            ("x-sendfile", "/etc/passwd"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("location", "https://elsewhere/"),
        ]);
        let told = outward(said, "fireclay-port");
        assert_eq!(names(&told), ["location", "origin-agent-cluster", "set-cookie"]);
        assert_eq!(told.get_all("set-cookie").iter().collect::<Vec<_>>(), ["own=1; Path=/; HttpOnly"]);
    }
}

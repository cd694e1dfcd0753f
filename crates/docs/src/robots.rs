//! What robots.txt says to us (RFC 9309). Pure, and linear in what it is given but for patterns, which are bounded.

use std::time::Duration;

/// Most of a file that is read: what RFC 9309 §2.5 asks for at least.
pub(crate) const FILE_BYTES_MAX: usize = 500 << 10;
/// Most rules that are kept, and longest pattern.
const RULES_MAX: usize = 5_000;
const PATTERN_BYTES_MAX: usize = 1_000;

/// The rules for one crawler.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Robots {
    /// Whether it allows, and what.
    rules: Vec<(bool, String)>,
    closed: bool,
    /// How long to wait between requests, if the site says so: not of the RFC, but widely written.
    pub delay: Option<Duration>,
}

impl Robots {
    /// Rules that allow nothing: for a file that cannot be had (RFC 9309 §2.3.1.4).
    #[must_use]
    pub fn closed() -> Self {
        Self { closed: true, ..Self::default() }
    }

    /// Reads the rules for `agent`, a product token; those for all where it is not named (RFC 9309 §2.2.1).
    #[must_use]
    pub fn parse(text: &str, agent: &str) -> Self {
        let (mut named, mut of_all) = (None::<Self>, Self::default());
        // Whom the group that is being read is for, and whether its rules have begun.
        let (mut for_us, mut for_all, mut in_rules) = (false, false, true);
        for line in text.trim_start_matches('\u{feff}').split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            if key == "user-agent" {
                if std::mem::replace(&mut in_rules, false) {
                    (for_us, for_all) = (false, false);
                }
                for_us |= value.eq_ignore_ascii_case(agent);
                for_all |= value == "*";
                if for_us {
                    named.get_or_insert_default();
                }
                continue;
            }
            let is_rule = matches!(key.as_str(), "allow" | "disallow" | "crawl-delay");
            in_rules |= is_rule;
            if is_rule && for_us {
                named.get_or_insert_default().add(&key, value);
            }
            if is_rule && for_all {
                of_all.add(&key, value);
            }
        }
        named.unwrap_or(of_all)
    }

    fn add(&mut self, key: &str, value: &str) {
        if key == "crawl-delay" {
            let seconds = value.parse::<f64>().ok();
            self.delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        } else if !value.is_empty() && value.len() <= PATTERN_BYTES_MAX && self.rules.len() < RULES_MAX {
            self.rules.push((key == "allow", value.to_owned()));
        }
    }

    /// Whether a path with its query may be fetched: the longest pattern that matches decides, and of two as long the one that allows.
    #[must_use]
    pub fn allows(&self, path: &str) -> bool {
        let matching = self.rules.iter().filter(|(_, pattern)| matches(pattern, path));
        let longest = matching.max_by_key(|(allows, pattern)| (pattern.len(), *allows));
        !self.closed && longest.is_none_or(|(allows, _)| *allows)
    }
}

/// Whether a pattern matches the beginning of a path: `*` is anything, `$` at its end is the end (RFC 9309 §2.2.3).
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, to_end) = pattern.strip_suffix('$').map_or((pattern, false), |pattern| (pattern, true));
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| path.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    let mut ends_in_star = false;
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        ends_in_star = is_last && part.is_empty();
        if is_last && to_end {
            return rest.ends_with(part);
        }
        // The first place is as good as any later one: what follows can only have more to match in.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    !to_end || ends_in_star || rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rule_of_our_group_decides() {
        let text = "User-agent: *\nDisallow: /\n\n# ours\nUser-Agent: Other\nuser-agent: FIRECLAY\nDisallow: /private # all of it\n\
                    Allow: /private/open\nDisallow: /*.pdf$\nDisallow:\nCrawl-delay: 1.5\n\nUser-agent: fireclay\nDisallow: /more\n";
        let robots = Robots::parse(text, "fireclay");
        assert_eq!(robots.delay, Some(Duration::from_millis(1500)));
        for (path, allowed) in [
            ("/", true),
            ("/private", false),
            ("/private/x", false),
            ("/private/open/x", true),
            ("/a/b.pdf", false),
            ("/a/b.pdf?x", true),
            ("/more/x", false),
        ] {
            assert_eq!(robots.allows(path), allowed, "{path}");
        }
        assert!(!Robots::parse(text, "somebody").allows("/x"));
        assert!(Robots::parse("", "fireclay").allows("/x"));
        assert!(Robots::parse("nonsense\n:::\nDisallow: /", "fireclay").allows("/x"), "a rule of no group");
        assert!(!Robots::closed().allows("/x"));
    }

    #[test]
    fn patterns_match_as_the_rfc_says() {
        for (pattern, path, matched) in [
            ("/fish", "/fish.html", true),
            ("/fish*", "/fishheads", true),
            ("/fish/", "/fish", false),
            ("/*.php", "/a.php?x", true),
            ("/*.php$", "/a.php", true),
            ("/*.php$", "/a.php/b", false),
            ("/a$", "/a", true),
            ("/a$", "/ab", false),
            ("/a*b*c", "/a-b-b-c-d", true),
            ("/a*$", "/a/anything", true),
            ("*", "/x", true),
            ("x", "/x", false),
        ] {
            assert_eq!(matches(pattern, path), matched, "{pattern} {path}");
        }
        assert!(!matches(&"*a".repeat(500), &format!("/{}", "b".repeat(100_000))));
    }
}

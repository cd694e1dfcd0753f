//! The crawl: breadth first from one page, one request at a time, until there is no more or a limit is reached.

use crate::cache::{Cache, Entry};
use crate::charset::decode;
use crate::fetch::{AGENT, Answer, Fetcher};
use crate::library::{Library, Page};
use crate::markdown;
use crate::robots::{FILE_BYTES_MAX, Robots};
use crate::scope::{BadUrl, Scope};
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};
use thiserror::Error;
use url::Url;

/// Longest pause between two requests, whatever robots.txt asks for, and after an answer that asks to wait.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Most URLs that wait.
const WAITING_MAX: usize = 20_000;
/// Most hops before the first page or robots.txt is there (RFC 9309 §2.3.1.2 has five).
const HOPS_MAX: usize = 5;
/// Most pages that are named as not read.
const TROUBLES_MAX: usize = 20;

/// How far a crawl goes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How far a page may be from the first, which is at depth 1.
    pub depth: u32,
    /// Requests for pages.
    pub pages: usize,
    /// Bytes of one page as it comes, unpacked; the rest of it is not read.
    pub page_bytes: usize,
    /// Bytes of Markdown of all pages.
    pub text_bytes: usize,
    /// From the first request to the last.
    pub time: Duration,
    /// For each request.
    pub patience: Duration,
    /// Between two requests, if robots.txt asks for no more; none of one's own machine.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 20,
            pages: 500,
            page_bytes: 4 << 20,
            text_bytes: 16 << 20,
            time: Duration::from_secs(120),
            patience: Duration::from_secs(15),
            pause: Duration::from_millis(100),
        }
    }
}

/// Why there is no documentation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CrawlError {
    /// Of the URL.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// Of the first page, or of robots.txt.
    #[error("{0}")]
    Unreadable(String),
}

/// What happens.
#[derive(Debug)]
pub enum Step<'a> {
    /// A page was read: its URL, and how many were before it.
    Read(&'a str, usize),
    /// A page was not, and why.
    Trouble(&'a str, &'a str),
}

/// What a crawl brought.
#[derive(Debug)]
pub struct Crawled {
    /// The pages.
    pub library: Library,
    /// Pages of it that the cache had, and that had not changed.
    pub unchanged: usize,
    /// Pages that could not be read.
    pub troubles: usize,
    /// The limit that ended it, if one did.
    pub limit: Option<&'static str>,
}

/// Reads the documentation that begins at a URL. `private` is whether its name may have a private address.
///
/// # Errors
/// [`CrawlError`] if the first page cannot be read; what is wrong with any other is told, and it is left out.
pub fn crawl(
    start: &str,
    private: bool,
    limits: &Limits,
    cache: Option<&Cache>,
    told: &mut dyn FnMut(Step<'_>),
) -> Result<Crawled, CrawlError> {
    let scope = Scope::of(start)?;
    let fetcher = Fetcher::new(&scope, private, limits.patience);
    let until = Instant::now() + limits.time;
    let mut crawl = Crawl {
        waiting: VecDeque::from([(scope.start().clone(), 1)]),
        seen: HashSet::from([scope.start().as_str().to_owned()]),
        scope,
        fetcher,
        robots: Robots::default(),
        limits,
        cache,
        until,
        pages: Vec::new(),
        text_bytes: 0,
        asked: 0,
        unchanged: 0,
        troubles: 0,
    };
    crawl.first()?;
    let limit = crawl.rest(told);
    if let Some(Err(error)) = cache.map(Cache::trim) {
        told(Step::Trouble("the cache", &error.to_string()));
    }
    let Crawl { scope, pages, unchanged, troubles, .. } = crawl;
    if pages.is_empty() {
        return Err(CrawlError::Unreadable("there is no text in it".to_owned()));
    }
    Ok(Crawled { library: Library::new(scope.start().as_str(), pages), unchanged, troubles, limit })
}

struct Crawl<'a> {
    scope: Scope,
    fetcher: Fetcher,
    robots: Robots,
    limits: &'a Limits,
    cache: Option<&'a Cache>,
    until: Instant,
    waiting: VecDeque<(Url, u32)>,
    seen: HashSet<String>,
    pages: Vec<Page>,
    text_bytes: usize,
    asked: usize,
    unchanged: usize,
    troubles: usize,
}

impl Crawl<'_> {
    /// Reads robots.txt and the first page, without which there is nothing.
    fn first(&mut self) -> Result<(), CrawlError> {
        self.robots = self.robots()?;
        for _ in 0..=HOPS_MAX {
            let Some((url, depth)) = self.waiting.pop_front() else { break };
            let page =
                self.page(&url, depth).map_err(|why| CrawlError::Unreadable(format!("{url}: {why}")))?;
            match page {
                Found::Page | Found::Nothing => return Ok(()),
                Found::Elsewhere(to) if self.scope.is_same_origin(&to) => {
                    self.waiting.push_front((to, depth))
                }
                Found::Elsewhere(to) => {
                    let Some(secure) = self.scope.secured(&to) else {
                        return Err(CrawlError::Unreadable(format!(
                            "it leads to another place, {to}; say that, if it is what is meant"
                        )));
                    };
                    self.scope = secure;
                    self.robots = self.robots()?;
                    self.waiting.push_front((to, depth));
                }
            }
        }
        Err(CrawlError::Unreadable(format!("it leads from place to place, more than {HOPS_MAX} times")))
    }

    /// Reads all other pages; answers the limit that ended it.
    fn rest(&mut self, told: &mut dyn FnMut(Step<'_>)) -> Option<&'static str> {
        while let Some((url, depth)) = self.waiting.pop_front() {
            if self.asked >= self.limits.pages {
                return Some("pages");
            }
            if self.text_bytes >= self.limits.text_bytes {
                return Some("bytes");
            }
            if !self.pause(self.robots.delay) {
                return Some("time");
            }
            let before = self.pages.len();
            match self.page(&url, depth) {
                Ok(Found::Page) => told(Step::Read(url.as_str(), before)),
                Ok(Found::Elsewhere(to)) => self.wait_for(&to.clone(), to.as_str(), depth),
                Ok(Found::Nothing) => {}
                Err(why) => {
                    self.troubles += 1;
                    if self.troubles <= TROUBLES_MAX {
                        told(Step::Trouble(url.as_str(), &why));
                    }
                }
            }
        }
        None
    }

    /// Waits between two requests; answers whether there is time for one more.
    fn pause(&self, asked_for: Option<Duration>) -> bool {
        let usual = if self.scope.is_this_machine() { Duration::ZERO } else { self.limits.pause };
        let pause = asked_for.unwrap_or_default().max(usual).min(PAUSE_MAX);
        let left = self.until.saturating_duration_since(Instant::now());
        if pause >= left {
            return false;
        }
        std::thread::sleep(pause);
        true
    }

    /// What robots.txt of the place says. One that is not there allows all, one that cannot be had nothing (RFC 9309 §2.3.1).
    fn robots(&self) -> Result<Robots, CrawlError> {
        let mut url = self
            .scope
            .start()
            .join("/robots.txt")
            .map_err(|error| CrawlError::Unreadable(error.to_string()))?;
        for _ in 0..=HOPS_MAX {
            let answer = self.fetcher.get(&url, None, FILE_BYTES_MAX);
            let answer = answer.map_err(|why| CrawlError::Unreadable(format!("{url}: {why}")))?;
            match answer.redirect(&url) {
                Some(to) if self.scope.is_same_origin(&to) => url = to,
                // Where somebody else's file would be read, the first page leads there too, and says so.
                Some(_) => return Ok(Robots::default()),
                None if answer.status == 200 => {
                    return Ok(Robots::parse(&String::from_utf8_lossy(&answer.body), AGENT));
                }
                None if answer.status >= 500 || answer.status == 429 => return Ok(Robots::closed()),
                None => return Ok(Robots::default()),
            }
        }
        Ok(Robots::default())
    }

    fn page(&mut self, url: &Url, depth: u32) -> Result<Found, String> {
        if !self.robots.allows(&url[url::Position::BeforePath..url::Position::AfterQuery]) {
            return Err("robots.txt of the place does not allow it".to_owned());
        }
        let known = self.cache.and_then(|cache| cache.get(url.as_str()));
        let mut answer = self.ask(url, known.as_ref())?;
        if matches!(answer.status, 429 | 503) {
            let seconds = answer.header("retry-after").and_then(|text| text.trim().parse().ok());
            if seconds.is_none_or(|seconds| seconds <= PAUSE_MAX.as_secs())
                && self.pause(Some(Duration::from_secs(seconds.unwrap_or(1))))
            {
                answer = self.ask(url, known.as_ref())?;
            }
        }
        if let Some(to) = answer.redirect(url) {
            return Ok(Found::Elsewhere(to));
        }
        let entry = match (answer.status, known) {
            (304, Some(known)) => {
                self.unchanged += 1;
                known
            }
            (200, _) => {
                let content_type = answer.header("content-type").unwrap_or_default();
                if !crate::fetch::is_readable(content_type) {
                    return Ok(Found::Nothing);
                }
                let entry = entry(url, &answer, content_type);
                if let Some(cache) = self.cache {
                    cache.put(&entry).map_err(|error| format!("keep it: {error}"))?;
                }
                entry
            }
            (status, _) => return Err(format!("status {status}")),
        };
        self.take(url, depth, entry);
        Ok(Found::Page)
    }

    fn ask(&mut self, url: &Url, known: Option<&Entry>) -> Result<Answer, String> {
        self.asked += 1;
        self.fetcher.get(url, known, self.limits.page_bytes)
    }

    fn take(&mut self, url: &Url, depth: u32, entry: Entry) {
        for link in &entry.links {
            self.wait_for(url, link, depth + 1);
        }
        let Entry { title, markdown, is_cut, .. } = entry;
        // One page at two places, as /docs/ and /docs/index.html, is one.
        let is_new = !markdown.trim().is_empty() && self.pages.iter().all(|page| page.markdown != markdown);
        if is_new {
            self.text_bytes += markdown.len();
            self.pages.push(Page { url: url.to_string(), title, markdown, is_cut });
        }
    }

    fn wait_for(&mut self, page: &Url, href: &str, depth: u32) {
        if depth > self.limits.depth || self.waiting.len() >= WAITING_MAX {
            return;
        }
        if let Some(link) = self.scope.link(page, href)
            && self.seen.insert(link.as_str().to_owned())
        {
            self.waiting.push_back((link, depth));
        }
    }
}

enum Found {
    Page,
    Elsewhere(Url),
    /// What is no text.
    Nothing,
}

fn entry(url: &Url, answer: &Answer, content_type: &str) -> Entry {
    let text = decode(&answer.body, content_type);
    let kept = |name: &str| answer.header(name).map(str::to_owned);
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_html = if kind.is_empty() { text.trim_start().starts_with('<') } else { kind.contains("html") };
    let read = if is_html {
        markdown::convert(&text)
    } else {
        let title = url.path().rsplit('/').next().unwrap_or_default().to_owned();
        markdown::Converted { title, markdown: text, ..markdown::Converted::default() }
    };
    let base = read.base.and_then(|base| url.join(&base).ok());
    let base = base.as_ref().unwrap_or(url);
    let links = read.links.iter().filter_map(|link| base.join(link.trim()).ok()).map(String::from).collect();
    Entry {
        version: 0,
        url: url.to_string(),
        etag: kept("etag"),
        last_modified: kept("last-modified"),
        title: read.title,
        markdown: read.markdown,
        links,
        is_cut: read.is_cut || answer.is_cut,
    }
}

#[cfg(test)]
mod tests;

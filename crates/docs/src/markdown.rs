//! HTML → Markdown for a model to read, in one pass over the tokens of the page.
//!
//! There is no tree: deep nesting costs nothing, nothing recurses, and time is linear. A tree builder follows the standard in more, but looks
//! up its stack of open elements at every tag, in time that grows with the square of the depth. What navigates (`nav`, `header`, `footer`, `aside`) is left
//! out, and all but `main` where there is one; their links are kept, since a crawl goes by them.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

/// Most Markdown of one page, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Most links of one page.
const LINKS_MAX: usize = 5_000;
/// Longest link, in bytes.
const LINK_BYTES_MAX: usize = 2_000;
/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 200;
/// Deepest level that a list or a quotation is shown at.
const LEVELS_MAX: usize = 8;
/// Most columns of a table that its rule has.
const COLUMNS_MAX: usize = 64;

/// What was found in a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// Its title; empty if it has none.
    pub title: String,
    /// Its text.
    pub markdown: String,
    /// What it links to, as it is written there.
    pub links: Vec<String>,
    /// What its links are relative to, if it says so.
    pub base: Option<String>,
    /// Whether there was more text than is kept (1 MiB).
    pub is_cut: bool,
}

/// Converts a page. Never fails: what is no HTML is text.
#[must_use]
pub fn convert(html: &str) -> Converted {
    let mut emitter = DefaultEmitter::default();
    // Scripts, styles and titles are text (WHATWG HTML §13.2.5).
    emitter.naively_switch_states(true);
    let mut writer = Writer::default();
    for token in Tokenizer::new_with_emitter(html, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => writer.start(&tag),
            Token::EndTag(tag) => writer.end(&tag.name),
            Token::String(text) => writer.text(&String::from_utf8_lossy(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    writer.finish()
}

/// Blocks that are not shown, though their links count.
fn is_navigation(name: &[u8]) -> bool {
    matches!(name, b"nav" | b"header" | b"footer" | b"aside")
}

fn is_never_shown(name: &[u8]) -> bool {
    matches!(
        name,
        b"script"
            | b"style"
            | b"noscript"
            | b"template"
            | b"svg"
            | b"button"
            | b"select"
            | b"iframe"
            | b"textarea"
            | b"object"
            | b"canvas"
    )
}

/// What text is written to while a block is read whole.
struct Pre {
    language: String,
    text: String,
}

#[derive(Default)]
struct Writer {
    out: Converted,
    in_title: bool,
    /// What is not shown, and how many of its name are open.
    hidden: Option<(Vec<u8>, usize)>,
    /// How many `main` are open; what stood before the first is kept in case that it is empty.
    mains: usize,
    before_main: Option<String>,
    after_main: bool,
    pre: Option<Pre>,
    /// Line ends that are due before the next text.
    breaks: usize,
    space: bool,
    /// Open lists; the number of the next item where they are numbered.
    lists: Vec<Option<u32>>,
    deeper_lists: usize,
    quotes: usize,
    /// What begins the next line: a bullet or a heading.
    marker: String,
    cells: usize,
    rows: usize,
    in_row: bool,
    no_follow: bool,
    /// Of a `div` around a `pre`.
    language: String,
}

impl Writer {
    fn start(&mut self, tag: &StartTag<()>) {
        let name: &[u8] = &tag.name;
        let attribute = |key: &[u8]| {
            tag.attributes
                .get(key)
                .map(|value| String::from_utf8_lossy(&value.value).into_owned())
                .unwrap_or_default()
        };
        match name {
            b"title" if self.out.title.is_empty() => self.in_title = true,
            b"base" if self.out.base.is_none() => {
                self.out.base = Some(attribute(b"href")).filter(|base| !base.is_empty())
            }
            b"meta" if attribute(b"name").eq_ignore_ascii_case("robots") => {
                let content = attribute(b"content").to_ascii_lowercase();
                self.no_follow |= content.contains("nofollow") || content.contains("none");
            }
            b"a" | b"area" => self.link(attribute(b"href")),
            b"frame" | b"iframe" => self.link(attribute(b"src")),
            _ => {}
        }
        let is_main = name == b"main" || attribute(b"role") == "main";
        if is_main && self.mains == 0 && !self.after_main {
            self.hidden = None;
            self.flush_pre();
            self.before_main = Some(std::mem::take(&mut self.out.markdown));
            self.mains = 1;
            (self.breaks, self.space) = (0, false);
        } else if name == b"main" && self.mains > 0 {
            self.mains += 1;
        }
        if let Some((hidden, open)) = &mut self.hidden {
            if hidden.as_slice() == name && !tag.self_closing {
                *open += 1;
            }
            return;
        }
        let is_headerlink = name == b"a" && attribute(b"class").contains("headerlink");
        if (is_never_shown(name) || is_headerlink || (is_navigation(name) && self.mains == 0))
            && !tag.self_closing
        {
            self.hidden = Some((name.to_vec(), 1));
            return;
        }
        self.block(name, &attribute);
    }

    fn block(&mut self, name: &[u8], attribute: &dyn Fn(&[u8]) -> String) {
        if let Some(pre) = &mut self.pre {
            match name {
                b"br" => pre.text.push('\n'),
                b"code" if pre.language.is_empty() => pre.language = language_of(&attribute(b"class")),
                _ => {}
            }
            return;
        }
        match name {
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => {
                self.break_lines(2);
                self.marker = format!("{} ", "#".repeat(usize::from(name[1] - b'0')));
            }
            b"pre" => {
                self.break_lines(2);
                let own = language_of(&attribute(b"class"));
                let language = if own.is_empty() { std::mem::take(&mut self.language) } else { own };
                self.pre = Some(Pre { language, text: String::new() });
            }
            b"code" | b"kbd" | b"samp" | b"tt" => self.inline("`"),
            b"br" => self.break_lines(1),
            b"hr" => {
                self.break_lines(2);
                self.inline("---");
                self.break_lines(2);
            }
            b"img" => {
                let alt = attribute(b"alt");
                if !alt.trim().is_empty() {
                    self.text(&format!("[image: {}]", alt.trim()));
                }
            }
            b"ul" | b"ol" => {
                self.break_lines(if self.lists.is_empty() { 2 } else { 1 });
                if self.lists.len() < LEVELS_MAX {
                    let first = attribute(b"start").parse().unwrap_or(1);
                    self.lists.push((name == b"ol").then_some(first));
                } else {
                    self.deeper_lists += 1;
                }
            }
            b"li" => {
                self.break_lines(1);
                self.marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}. ");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => "- ".to_owned(),
                };
            }
            b"dd" => {
                self.break_lines(1);
                self.marker = ": ".to_owned();
            }
            b"blockquote" => {
                self.break_lines(2);
                self.quotes += 1;
            }
            b"table" => {
                self.break_lines(2);
                self.rows = 0;
            }
            b"tr" => {
                self.end_row();
                self.break_lines(1);
                (self.cells, self.in_row) = (0, true);
            }
            b"td" | b"th" if self.in_row => {
                self.cells += 1;
                self.space = false;
                self.inline(if self.cells == 1 { "| " } else { " | " });
            }
            b"div" => {
                let said = language_of(&attribute(b"class"));
                if !said.is_empty() {
                    self.language = said;
                }
                self.break_lines(1);
            }
            name if is_block(name) => self.break_lines(2),
            _ => {}
        }
    }

    fn end(&mut self, name: &[u8]) {
        if name == b"title" {
            self.in_title = false;
        }
        if let Some((hidden, open)) = &mut self.hidden {
            if hidden.as_slice() == name {
                *open -= 1;
                if *open == 0 {
                    self.hidden = None;
                }
            }
            return;
        }
        if name == b"main" && self.mains > 0 {
            self.flush_pre();
            self.mains -= 1;
            self.after_main = self.mains == 0;
            return;
        }
        if self.pre.is_some() {
            if name == b"pre" {
                self.flush_pre();
            }
            return;
        }
        match name {
            b"code" | b"kbd" | b"samp" | b"tt" => self.inline("`"),
            b"ul" | b"ol" => {
                if self.deeper_lists > 0 {
                    self.deeper_lists -= 1;
                } else {
                    self.lists.pop();
                }
                self.break_lines(if self.lists.is_empty() { 2 } else { 1 });
            }
            b"blockquote" => {
                self.break_lines(2);
                self.quotes = self.quotes.saturating_sub(1);
            }
            b"tr" => self.end_row(),
            b"table" => {
                self.end_row();
                self.break_lines(2);
            }
            b"li" | b"div" | b"dt" | b"dd" => self.break_lines(1),
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => {
                self.marker.clear();
                self.break_lines(2);
            }
            name if is_block(name) => self.break_lines(2),
            _ => {}
        }
    }

    fn end_row(&mut self) {
        if std::mem::take(&mut self.in_row) && self.cells > 0 {
            self.space = false;
            self.push(" |");
            if self.rows == 0 {
                self.breaks = 1;
                self.push(&format!("{}|", "|---".repeat(self.cells.min(COLUMNS_MAX))));
            }
            self.rows += 1;
            self.breaks = self.breaks.max(1);
        }
    }

    fn link(&mut self, href: String) {
        let follows = !href.is_empty() && !href.starts_with('#') && href.len() <= LINK_BYTES_MAX;
        if follows && !self.no_follow && self.out.links.len() < LINKS_MAX {
            self.out.links.push(href);
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_title {
            self.out.title.extend(text.chars().take(TITLE_CHARS_MAX));
            return;
        }
        if self.hidden.is_some() || self.after_main {
            return;
        }
        if let Some(pre) = &mut self.pre {
            let left = TEXT_BYTES_MAX.saturating_sub(pre.text.len());
            pre.text.push_str(&text[..text.floor_char_boundary(left)]);
            self.out.is_cut |= text.len() > left;
            return;
        }
        let is_space = |one: char| one.is_whitespace() || one == '\u{a0}';
        for (at, word) in text.split(is_space).enumerate() {
            self.space |= at > 0;
            if !word.is_empty() {
                self.inline(word);
            }
        }
    }

    /// Writes what stands in a line, after a space if one is due.
    fn inline(&mut self, text: &str) {
        if self.after_main {
            return;
        }
        let is_due = std::mem::take(&mut self.space) && self.breaks == 0;
        if is_due && !self.out.markdown.is_empty() && !self.out.markdown.ends_with(' ') {
            self.push(" ");
        }
        self.push(text);
    }

    /// Ends the line, if there is one, with so many line ends at least.
    fn break_lines(&mut self, count: usize) {
        if self.in_row {
            // A row is one line.
            self.space = true;
        } else {
            self.breaks = self.breaks.max(count);
        }
    }

    /// Writes, with the line ends that are due and what begins the line.
    fn push(&mut self, text: &str) {
        if self.out.markdown.len() + text.len() > TEXT_BYTES_MAX {
            self.out.is_cut = true;
            return;
        }
        let is_first = self.out.markdown.is_empty();
        if self.breaks > 0 || is_first {
            let quotes = "> ".repeat(self.quotes.min(LEVELS_MAX));
            for _ in 0..if is_first { 0 } else { self.breaks.min(2) } {
                self.out.markdown.push('\n');
            }
            self.out.markdown.push_str(&quotes);
            let is_item = !self.marker.is_empty();
            let indent = if is_item { self.lists.len().saturating_sub(1) } else { self.lists.len() };
            self.out.markdown.push_str(&"  ".repeat(indent));
            (self.breaks, self.space) = (0, false);
        }
        if !self.marker.is_empty() {
            self.out.markdown.push_str(&std::mem::take(&mut self.marker));
        }
        self.out.markdown.push_str(text);
    }

    /// Writes the block of code that was read, in a fence that nothing in it ends.
    fn flush_pre(&mut self) {
        let Some(Pre { language, text }) = self.pre.take() else { return };
        let text = text.trim_matches('\n').trim_end();
        if text.is_empty() || self.after_main {
            return;
        }
        let longest = text.split(|one| one != '`').map(str::len).max().unwrap_or_default();
        let fence = "`".repeat(longest.max(2) + 1);
        self.push(&format!("{fence}{language}\n{text}\n{fence}"));
        self.break_lines(2);
    }

    fn finish(mut self) -> Converted {
        self.flush_pre();
        self.end_row();
        if self.out.markdown.trim().is_empty() {
            self.out.markdown = self.before_main.take().unwrap_or_default();
        }
        let title: Vec<&str> = self.out.title.split_whitespace().collect();
        self.out.title = title.join(" ").chars().take(TITLE_CHARS_MAX).collect();
        if self.no_follow {
            self.out.links.clear();
        }
        self.out
    }
}

fn is_block(name: &[u8]) -> bool {
    matches!(
        name,
        b"p" | b"section"
            | b"article"
            | b"main"
            | b"header"
            | b"footer"
            | b"aside"
            | b"nav"
            | b"figure"
            | b"figcaption"
            | b"dl"
            | b"dt"
            | b"form"
            | b"fieldset"
            | b"details"
            | b"summary"
            | b"address"
            | b"body"
            | b"option"
    )
}

/// The language that a class names, as the usual generators write it.
fn language_of(class: &str) -> String {
    let said = class.split_whitespace().find_map(|class| {
        ["language-", "lang-", "highlight-source-", "highlight-"]
            .iter()
            .find_map(|prefix| class.strip_prefix(prefix))
    });
    let is_plain = |said: &&str| {
        said.len() <= 20 && said.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
    };
    said.filter(is_plain).filter(|said| *said != "default" && *said != "none").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_documentation_is_read() {
        let html = "<!doctype html><html><head><title>  The\n widget </title><style>p{}</style><script>var a = '<p>no</p>';</script></head>\
            <body><nav><a href='/a.html'>A</a> menu</nav><main><h1>Widget<a class=headerlink href='#w'>¶</a></h1>\
            <p>Call <code>spin( )</code>&nbsp;with\n  a <b>speed</b> &amp; go.<p>Second.\
            <ul><li>one<li>two<ol start=3><li>x</li><li>y</li></ol></li></ul>after\
            <div class='highlight-python notranslate'><div class=highlight><pre><span>def f():\n    return `1`\n</span></pre></div></div>\
            <blockquote><p>Quoted.</p></blockquote>\
            <table><thead><tr><th>Name</th><th>Speed</th></tr></thead><tbody><tr><td><p>slow</p></td><td>1</td></tr></table>\
            <dl><dt>term</dt><dd>what it means</dd></dl><img src=x alt='A chart'></main><footer>imprint <a href=b.html>b</a></footer>";
        let page = convert(html);
        assert_eq!(page.title, "The widget");
        assert_eq!(page.links, ["/a.html", "b.html"]);
        let wanted = "# Widget\n\nCall `spin( )` with a speed & go.\n\nSecond.\n\n- one\n- two\n  3. x\n  4. y\n\nafter\n\n\
            ```python\ndef f():\n    return `1`\n```\n\n> Quoted.\n\n| Name | Speed |\n|---|---|\n| slow | 1 |\n\nterm\n: what it means\n\n\
            [image: A chart]";
        assert_eq!(page.markdown, wanted);
        assert!(!page.is_cut);
    }

    #[test]
    fn what_no_one_wrote_with_care_is_read_too() {
        assert_eq!(convert("just text\n and more").markdown, "just text and more");
        assert_eq!(convert("").markdown, "");
        assert_eq!(convert("<p>a</div></p></p><b>b").markdown, "a\n\nb");
        assert_eq!(convert("<p>before</p><main></main>").markdown, "before", "an empty main is none");
        assert_eq!(convert("<nav>menu<main>text").markdown, "text", "what is not closed hides no main");
        assert_eq!(
            convert("<meta name=robots content='noindex, nofollow'><a href=x>x</a>").links,
            Vec::<String>::new()
        );
        assert_eq!(convert("<pre>a ``` b").markdown, "````\na ``` b\n````");
        assert_eq!(convert("</ul></ol></table></tr></blockquote></main><td>x").markdown, "x");
        assert_eq!(convert("<base href='/b/'><a href=c>c</a>").base.as_deref(), Some("/b/"));
    }

    #[test]
    fn hostile_pages_are_read_in_linear_time() {
        // A step that were quadratic would not end while somebody waits, one that were recursive would overflow the stack.
        for tag in [
            "<div>",
            "<b>",
            "<ul><li>",
            "<table><tr><td>",
            "<blockquote>",
            "<a href=x>",
            "<svg>",
            "<pre><code>",
            "<nav>",
            "<p",
            "<!--",
            "&",
        ] {
            let page = convert(&format!("<p>start</p>{}end", tag.repeat(100_000)));
            assert!(page.markdown.starts_with("start"), "{tag}: {:?}", page.markdown.get(..40));
            assert!(page.links.len() <= LINKS_MAX && page.markdown.len() <= TEXT_BYTES_MAX + 64, "{tag}");
        }
        let page = convert(&"x".repeat(50 << 20));
        assert!(page.is_cut && page.markdown.is_empty(), "one word of 50 MB is no text");
        let page = convert(&"word ".repeat(10 << 20));
        assert!(
            page.is_cut && page.markdown.len() <= TEXT_BYTES_MAX && page.markdown.len() > TEXT_BYTES_MAX - 64
        );
        let attributes: String = (0..100_000).map(|number| format!(" a{number}=1")).collect();
        assert_eq!(convert(&format!("<p{attributes}>x")).markdown, "x");
    }
}

//! Crawls of a real site on this machine.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a site answers to a path and its headers: all of an answer, or nothing, and then it stays silent until the client leaves.
type Answers = dyn Fn(&str, &str) -> Option<Vec<u8>> + Send + Sync;

struct Site {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Site {
    fn new(answers: impl Fn(&str, &str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answers): (_, Arc<Answers>) = (Arc::clone(&asked), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*answers));
            }
        });
        Self { url, asked }
    }

    /// The paths that were asked for, without robots.txt.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|path| *path != "/robots.txt").cloned().collect()
    }

    fn crawl(&self, path: &str, limits: Limits) -> Result<Crawled, CrawlError> {
        crawl(&format!("{}{path}", self.url), false, &limits, None, &mut |_| {})
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<String>>, answers: &Answers) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).unwrap_or_default() > 2 {
        head.push_str(&std::mem::take(&mut line));
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(path.clone());
    match answers(&path, &head) {
        // A client that has enough closes, and that is no failure.
        Some(answer) => drop(reader.get_mut().write_all(&answer)),
        None => drop(reader.read(&mut [0])),
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Option<Vec<u8>> {
    let head =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    Some([head.as_bytes(), body].concat())
}

fn html(body: &str) -> Option<Vec<u8>> {
    answer("200 OK", "content-type: text/html; charset=utf-8\r\n", body.as_bytes())
}

fn missing() -> Option<Vec<u8>> {
    answer("404 Not Found", "content-type: text/html\r\n", b"<a href=/d/of-an-error>x</a>")
}

fn to(place: &str) -> Option<Vec<u8>> {
    answer("302 Found", &format!("location: {place}\r\n"), b"")
}

fn paths(crawled: &Crawled) -> Vec<&str> {
    crawled.library.pages().iter().map(Page::path).collect()
}

#[test]
fn a_site_is_read_breadth_first_and_nothing_beside_it() {
    let other = Site::new(|_, _| html("of another origin"));
    let elsewhere = other.url.clone();
    let site = Site::new(move |path, _| match path {
        "/d/" => html(&format!(
            "<a href=a>a</a><a href='b/'>b</a><a href='#x'>x</a><a href=/d/>self</a><a href='{elsewhere}/d/'>off</a><a href=/out>out</a>\
             <a href=off>r</a><a href=metadata>m</a><a href=gone>g</a><a href=pic.png>p</a>first"
        )),
        "/d/a" => html("<a href='b/'>b</a><a href='./?q=1'>q</a>second"),
        "/d/b/" => html("<a href='../a#y'>a</a><a href='c'>c</a>third"),
        "/d/b/c" => html("fourth <a href=/d/b/index.html>index</a>"),
        "/d/b/index.html" => html("<a href='../a#y'>a</a><a href='c'>c</a>third"),
        "/d/?q=1" => answer("200 OK", "content-type: text/markdown\r\n", b"# fifth <b>"),
        "/d/off" => to(&elsewhere),
        "/d/metadata" => to("http://169.254.169.254/d/latest"),
        "/d/pic.png" => answer("200 OK", "content-type: image/png\r\n", b"\x89PNG"),
        _ => missing(),
    });
    let crawled = site.crawl("/d/", Limits::default()).unwrap();
    assert_eq!(paths(&crawled), ["/d/", "/d/a", "/d/b/", "/d/?q=1", "/d/b/c"]);
    assert_eq!(crawled.library.pages()[3].markdown, "# fifth <b>");
    assert_eq!(
        (crawled.troubles, crawled.limit),
        (1, None),
        "what is missing is one, what leads elsewhere is none"
    );
    let mut asked = site.asked();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), all, "nothing is asked for twice: {asked:?}");
    assert!(
        !asked.contains(&"/out".to_owned()) && !asked.contains(&"/d/of-an-error".to_owned()),
        "{asked:?}"
    );
    assert_eq!(other.asked().len(), 0);
}

#[test]
fn each_limit_ends_a_crawl_by_its_name() {
    // A page that always leads on.
    let endless = || {
        Site::new(|path, _| {
            let number: u64 = path.trim_matches('/').parse().unwrap_or(0);
            html(&format!("<a href=/{}>on</a> page {number} {}", number + 1, "word ".repeat(200)))
        })
    };
    let read = |limits: Limits| {
        let crawled = endless().crawl("/", limits).unwrap();
        (crawled.library.pages().len(), crawled.limit)
    };
    let usual = Limits::default();
    assert_eq!(read(Limits { depth: 1, ..usual }), (1, None));
    assert_eq!(read(Limits { depth: 4, ..usual }), (4, None));
    assert_eq!(read(Limits { depth: u32::MAX, pages: 7, ..usual }), (7, Some("pages")));
    assert_eq!(read(Limits { depth: u32::MAX, text_bytes: 2_500, ..usual }), (3, Some("bytes")));
    assert_eq!(read(Limits { depth: u32::MAX, time: Duration::ZERO, ..usual }), (1, Some("time")));
}

#[test]
fn robots_txt_is_heeded() {
    let with = |status: &'static str, robots: &'static str| {
        Site::new(move |path, _| match path {
            "/robots.txt" => answer(status, "content-type: text/plain\r\n", robots.as_bytes()),
            "/" => html("<a href=/open>o</a><a href=/closed/x>c</a>start"),
            _ => html(path),
        })
    };
    let site = with("200 OK", "User-agent: *\nDisallow: /\n\nUser-agent: fireclay\nDisallow: /closed\n");
    assert_eq!(paths(&site.crawl("/", Limits::default()).unwrap()), ["/", "/open"]);
    assert_eq!(site.asked(), ["/", "/open"]);
    for (status, robots) in [("200 OK", "User-agent: *\nDisallow: /\n"), ("503 Busy", "")] {
        let site = with(status, robots);
        let error = site.crawl("/", Limits::default()).unwrap_err().to_string();
        assert!(error.contains("robots.txt"), "{error}");
        assert_eq!(site.asked(), [""; 0]);
    }
    assert!(with("404 Not Found", "User-agent: *\nDisallow: /\n").crawl("/", Limits::default()).is_ok());
}

#[test]
fn pages_that_harm_are_cut_or_left_out() {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(&vec![b' '; 64 << 20]).unwrap();
    let bomb = zipped.finish().unwrap();
    let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
    zipped.write_all(b"<p>zipped text").unwrap();
    let zipped = zipped.finish().unwrap();
    let site = Site::new(move |path, _| {
        let gzip = "content-type: text/html\r\ncontent-encoding: gzip\r\n";
        match path {
            "/" => html(
                "<a href=/zip>z</a><a href=/bomb>b</a><a href=/broken>x</a><a href=/huge>h</a><a href=/slow>s</a><a href=/rude>r</a>\
                <a href=/latin>l</a><a href=/deep>d</a><a href=/loop>l</a><a href=/last>l</a>start",
            ),
            "/zip" => answer("200 OK", gzip, &zipped),
            "/bomb" => answer("200 OK", gzip, &bomb),
            "/broken" => answer("200 OK", gzip, b"\x1f\x8bno"),
            "/huge" => html(&"word ".repeat(1 << 20)),
            "/slow" => None,
            "/rude" => Some(b"\xff\xfe nonsense\r\n\r\n".to_vec()),
            "/latin" => answer("200 OK", "content-type: text/html\r\n", b"gr\xfc\xdfe \x00\x1b"),
            "/deep" => html(&format!("{}deep", "<div><b>".repeat(100_000))),
            "/loop" => to("/loop"),
            "/last" => html("last"),
            _ => missing(),
        }
    });
    let limits = Limits { page_bytes: 1 << 20, patience: Duration::from_millis(1_000), ..Limits::default() };
    let crawled = site.crawl("/", limits).unwrap();
    assert_eq!(paths(&crawled), ["/", "/zip", "/huge", "/latin", "/deep", "/last"]);
    let page = |path: &str| crawled.library.pages().iter().find(|page| page.path() == path).unwrap();
    assert_eq!(page("/zip").markdown, "zipped text");
    assert!(page("/latin").markdown.starts_with("grüße"));
    assert!(page("/huge").is_cut && page("/huge").markdown.len() <= 1 << 20);
    assert_eq!(crawled.troubles, 3, "broken, slow and rude");
}

#[test]
fn a_name_with_a_private_address_is_not_dialled() {
    let site = Site::new(|_, _| html("inside"));
    let port = site.url.rsplit(':').next().unwrap();
    // The first page is of this machine's name, which stands for any name that leads here: it is in /etc/hosts everywhere.
    let at = |start: &str, private: bool| {
        let scope = Scope::of(start).unwrap();
        let fetcher = Fetcher::new(&scope, private, Duration::from_secs(10));
        let url = Url::parse(&format!("http://localhost:{port}/")).unwrap();
        fetcher.get(&url, None, 100).map(|answer| answer.status)
    };
    let refused = at("http://docs.example/", false).unwrap_err();
    assert!(refused.contains("not public (loopback"), "{refused}");
    assert_eq!(site.asked(), [""; 0]);
    assert_eq!(at("http://docs.example/", true), Ok(200));
    assert_eq!(at(&format!("http://localhost:{port}/"), false), Ok(200));
}

#[test]
fn the_first_page_may_move_but_not_to_another_place() {
    let other = Site::new(|_, _| html("elsewhere"));
    let elsewhere = other.url.clone();
    let site = Site::new(move |path, _| match path {
        "/" => to("/en/"),
        "/en/" => html("<a href=/de/>de</a>en"),
        "/de/" => html("de"),
        "/off" => to(&elsewhere),
        "/round" => to("/round"),
        "/nothing" => html("<script>no text</script>"),
        _ => missing(),
    });
    assert_eq!(paths(&site.crawl("/", Limits::default()).unwrap()), ["/en/", "/de/"]);
    for (path, why) in [
        ("/off", "leads to another place"),
        ("/round", "more than 5 times"),
        ("/gone", "status 404"),
        ("/nothing", "no text"),
    ] {
        let error = site.crawl(path, Limits::default()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(other.asked(), [""; 0]);
}

#[test]
fn pages_that_have_not_changed_come_from_the_cache() {
    let second = Arc::new(Mutex::new("old"));
    let now = Arc::clone(&second);
    let site = Site::new(move |path, head| {
        let text = if path == "/" { "<a href=/a>a</a>start" } else { *now.lock().unwrap() };
        let tag = format!("\"{text:?}\"").replace(['<', '>'], "");
        let headers = format!(
            "content-type: text/html\r\netag: {tag}\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        );
        let has = head.lines().any(|line| line.eq_ignore_ascii_case(&format!("if-none-match: {tag}")));
        if has {
            answer("304 Not Modified", &headers, b"")
        } else {
            answer("200 OK", &headers, text.as_bytes())
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path()).unwrap();
    let read = || {
        let crawled =
            crawl(&format!("{}/", site.url), false, &Limits::default(), Some(&cache), &mut |_| {}).unwrap();
        let pages = crawled.library.pages().iter();
        (crawled.unchanged, pages.map(|page| page.markdown.clone()).collect::<Vec<_>>())
    };
    assert_eq!(read(), (0, vec!["astart".to_owned(), "old".to_owned()]));
    assert_eq!(
        read(),
        (2, vec!["astart".to_owned(), "old".to_owned()]),
        "the links of a page that is kept are followed too"
    );
    *second.lock().unwrap() = "new";
    assert_eq!(read(), (1, vec!["astart".to_owned(), "new".to_owned()]));
}

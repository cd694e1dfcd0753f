//! `/problems/{word}`: the `type` of a problem leads to a page about it, also for those who were let see nothing else.

use super::tenancy::Tenancy;
use fireclay_tests::Server;

/// The committed reference page: made from the same table.
const REFERENCE: &str = include_str!("../../docs/reference/problems.md");

#[test]
fn the_type_of_every_problem_leads_to_a_page_about_it() {
    let server = Server::start(&[]);
    let rows: Vec<Vec<&str>> = REFERENCE
        .lines()
        .filter(|line| line.contains("`/problems/"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), server::problem::Kind::ALL.len());
    for row in rows {
        let (status, path, title) = (row[1], row[2].trim_matches('`'), row[3]);
        let page = server.send("GET", path, &[], b"");
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert!(page.header("content-security-policy").contains("default-src 'none'"), "{path}");
        let text = page.text();
        assert!(
            text.contains(&format!("<h1>{title}</h1>")) && text.contains(&format!("Status {status},")),
            "{text}"
        );
        // What the row says to do, but for the marks around code.
        let words = |text: &str| text.replace("<code>", "").replace("</code>", "").replace('`', "");
        assert!(words(text).contains(&words(row[4])), "{path}: {text}");
        // Every link of it leads on.
        for link in text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert_eq!(server.get(link).0, 200, "{link}");
        }
    }
}

#[test]
fn who_was_refused_may_read_why() {
    let tenancy = Tenancy::start();
    let (status, problem) = tenancy.server.get_json("/v1/runs");
    assert_eq!(status, 401);
    let page = tenancy.server.send("GET", problem["type"].as_str().unwrap(), &[], b"");
    assert!(page.status == 200 && page.text().contains("Authorization: Bearer"), "{page:?}");
}

#[test]
fn an_unknown_kind_is_not_found() {
    let server = Server::start(&[]);
    for path in ["/problems/nothing", "/problems/Fault", "/problems/%3Cscript%3E", "/problems/", "/problems"]
    {
        let answer = server.send("GET", path, &[], b"");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{path}"
        );
    }
}

//! Templates that an operator makes: built once in sandboxes, never changed, and what runs and sessions of them have. Attack group PK.

use super::packages::{completed, start};
use super::sessions::{open, run};
use super::tenancy::Tenancy;
use fireclay_tests::run::command;
use fireclay_tests::{Data, Server};
use model::Outcome;
use serde_json::{Value, json};

fn build(server: &Server, definition: &Value) -> Value {
    let (status, built) = server.post_json("/v1/templates", definition);
    assert_eq!(status, 201, "{built}");
    built
}

fn refused(server: &Server, definition: &Value) -> (String, String) {
    let (status, problem) = server.post_json("/v1/templates", definition);
    assert_eq!(status, 422, "{problem}");
    let word = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    (word("field"), word("detail"))
}

fn of(template: &str, code: &str) -> Value {
    json!({"language": "python", "template": template, "code": code})
}

#[test]
fn it_has_what_was_laid_over_its_base_and_keeps_it() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let definition = json!({"name": "mine", "purpose": "a trial", "packages": ["six==1.16.0"], "modules": ["six"],
        "files": [{"path": "data/a.txt", "text": "laid down"}],
        "setup": ["python3 -c 'import six; open(\"made.txt\", \"w\").write(six.__version__)'", "echo \"$WORD\" > word.txt"],
        "env": {"WORD": "fire"}, "limits": {"timeout_ms": 4000}});
    let built = build(&server, &definition);
    assert_eq!(
        (built["ready"].as_bool(), built["packages"][0].as_str()),
        (Some(true), Some("six 1.16.0")),
        "{built}"
    );
    // A fork of its own warm interpreter has the module, an executed one the same packages.
    let code = "import sys, os\nwarm = 'six' in sys.modules\nimport six\n\
                print(six.__version__, open('/opt/template/data/a.txt').read(), open('/opt/template/made.txt').read(), os.environ['WORD'])\n\
                print(open('/opt/template/word.txt').read().strip())\ntry: open('/opt/template/made.txt', 'a')\nexcept OSError as e: print(e.errno)";
    let first = completed(&server, &of("mine", code));
    assert_eq!(first.stdout, "1.16.0 laid down 1.16.0 fire\nfire\n30\n");
    let warm =
        json!({"language": "python", "template": "mine", "code": "import sys; print('six' in sys.modules)"});
    assert!((0..200).any(|_| completed(&server, &warm).stdout == "True\n"), "no fork of its own");
    // Limits that a run does not name are its template's.
    let slow = server.run(&of("mine", "import time; time.sleep(60)"));
    assert_eq!((slow.outcome, slow.limits_hit.len()), (Some(Outcome::TimedOut), 1), "{slow:?}");
    assert_eq!(slow.limits_hit, [model::Limit::Timeout], "{slow:?}");
    // Other runs have nothing of it.
    let plain = completed(
        &server,
        &json!({"language": "python", "code": "import os; print(os.path.exists('/opt/template'))"}),
    );
    assert_eq!(plain.stdout, "False\n");
    // A session of it; a run of it with a package more.
    let session = open(&server, &json!({"template": "mine"}));
    let said = run(
        &server,
        &session,
        &json!({"code": "import six, os; print(six.__version__, os.environ['WORD'])"}),
    );
    assert_eq!(said["stdout"], "1.16.0 fire\n", "{said}");
    let more = json!({"language": "python", "template": "mine", "packages": ["tabulate"],
        "code": "import six, tabulate; print(six.__version__, open('/opt/template/word.txt').read().strip())"});
    assert_eq!(completed(&server, &more).stdout, "1.16.0 fire\n");
    // Built again, its name stands for the new one, and its version for the old.
    let old = built["version"].as_str().unwrap().to_owned();
    let again = build(&server, &json!({"name": "mine", "env": {"WORD": "clay"}}));
    assert_ne!(again["version"], built["version"]);
    let word = "import os; print(os.environ['WORD'])";
    assert_eq!(completed(&server, &of("mine", word)).stdout, "clay\n");
    assert_eq!(completed(&server, &of(&format!("mine@{old}"), word)).stdout, "fire\n");
    drop(server);
    // The next service has it, and needs no index for it.
    let next = Server::start_in(&data, &["--set", "packages.offline=true"]);
    assert_eq!(completed(&next, &of(&format!("mine@{old}"), code)).stdout, first.stdout);
    let (status, listed) = next.get_json("/v1/templates");
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(
        (status, names),
        (
            200,
            vec![
                "bash",
                "node",
                "python",
                "python-data",
                "typescript",
                "c",
                "cpp",
                "go",
                "java",
                "perl",
                "php",
                "r",
                "ruby",
                "rust",
                "mine"
            ]
        )
    );
    assert_eq!(next.delete("/v1/templates/python").0, 409);
    // Sandboxes of it may be waiting: then it stays.
    let (status, gone) = next.delete("/v1/templates/mine");
    assert!([204, 409].contains(&status), "{gone}");
    assert_eq!(next.delete("/v1/templates/none").0, 404);
}

#[test]
fn a_template_of_node_has_packages_of_npm() {
    let server = super::packages_npm::start(&Data::fresh(), &[]);
    build(&server, &json!({"name": "odd", "base": "node", "packages": ["is-odd@3.0.1"]}));
    let request =
        json!({"language": "javascript", "template": "odd", "code": "console.log(require('is-odd')(5))"});
    assert_eq!(completed(&server, &request).stdout, "true\n");
    let session = open(&server, &json!({"template": "odd"}));
    assert_eq!(
        run(&server, &session, &json!({"code": "console.log(require('is-odd')(4))"}))["stdout"],
        "false\n"
    );
}

#[test]
fn what_cannot_be_built_is_told_by_its_field_and_leaves_nothing() {
    let server = start(&Data::fresh(), &["packages.deny=[\"tabulate\"]"]);
    for (definition, field, words) in [
        (json!({"name": "../x"}), "name", "not a template's name"),
        (json!({"name": "python"}), "name", "comes with fireclay"),
        (json!({"name": "a", "base": "cobol"}), "base", "cobol"),
        (json!({"name": "a", "packages": ["git+https://evil.test/x"]}), "packages", "version control"),
        (json!({"name": "a", "packages": ["tabulate"]}), "packages", "packages.deny"),
        (json!({"name": "a", "modules": ["nosuchmodule_zz"]}), "modules", "nosuchmodule_zz"),
        (json!({"name": "a", "base": "bash", "modules": ["os"]}), "modules", "no Python"),
        (json!({"name": "a", "files": [{"path": "../../etc/x", "text": ""}]}), "files", "path"),
        (json!({"name": "a", "env": {"A=B": "1"}}), "env", ""),
        (
            json!({"name": "a", "setup": ["true", "echo no way >&2; exit 7"]}),
            "setup",
            "command 2 ended with 7: no way",
        ),
        (json!({"name": "a", "setup": ["touch x; mkfifo y"]}), "", "neither a file nor a directory"),
        (json!({"name": "a", "setup": ["curl -sS http://example.org"]}), "setup", "command 1"),
        (json!({"name": "a", "limits": {"timeout_ms": "x"}}), "", ""),
        (json!({"name": "a", "setup": vec!["true"; 101]}), "setup", "not a list of commands"),
        (json!({"name": "a", "modules": vec!["os"; 101]}), "modules", "too many modules"),
    ] {
        let (status, problem) = server.post_json("/v1/templates", &definition);
        assert!((400..600).contains(&status), "{definition}: {problem}");
        assert!(problem["field"].as_str().unwrap_or_default().starts_with(field), "{definition}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{definition}: {problem}");
    }
    let (_, listed) = server.get_json("/v1/templates");
    assert_eq!(listed["items"].as_array().unwrap().len(), 14, "{listed}");
    let (field, detail) = refused(&server, &json!({"name": "a", "purpose": "x\u{1b}[2J"}));
    assert_eq!(field, "purpose", "{detail}");
}

#[test]
fn an_administrators_is_everybodys_and_a_tenants_is_its_own() {
    let data = Data::fresh();
    let tenancy = Tenancy::start_in(&data, &["--set", "templates.tenant_max=2"]);
    let word = |key: &str, template: &str| {
        let request = of(template, "import os; print(os.environ['WORD'])");
        let (status, result) = tenancy.tell(key, "POST", "/v1/runs", &request);
        match status {
            200 => result["stdout"].as_str().unwrap().trim().to_owned(),
            _ => format!("{status} {}", result["detail"].as_str().unwrap()),
        }
    };
    let build = |key: &str, name: &str, word: &str| {
        let definition = json!({"name": name, "env": {"WORD": word}, "files": [{"path": "a", "text": word}]});
        tenancy.tell(key, "POST", "/v1/templates", &definition)
    };
    let names = |key: &str| {
        let (_, listed) = tenancy.ask(key, "GET", "/v1/templates");
        let items = listed["items"].as_array().unwrap().clone();
        let own = items.iter().filter(|item| item["shipped"] == false);
        own.map(|item| format!("{} {}", item["name"].as_str().unwrap(), item["own"])).collect::<Vec<_>>()
    };
    let (status, built) = build(&tenancy.admin, "shared", "everybody's");
    assert_eq!((status, &built["own"]), (201, &json!(false)), "{built}");
    let (status, built) = build(&tenancy.a, "mine", "of a");
    assert_eq!((status, &built["own"]), (201, &json!(true)), "{built}");
    // Each sees its own and everybody's, and no other, by no name.
    assert_eq!(
        (word(&tenancy.a, "mine").as_str(), word(&tenancy.b, "shared").as_str()),
        ("of a", "everybody's")
    );
    assert!(word(&tenancy.b, "mine").starts_with("422 there is no template"), "{}", word(&tenancy.b, "mine"));
    let (version, place) = (format!("mine@{}", built["version"].as_str().unwrap()), "a/mine");
    for name in [version.as_str(), place, "a mine"] {
        assert!(word(&tenancy.b, name).starts_with("422 "), "{name}");
    }
    assert_eq!(word(&tenancy.a, &version), "of a");
    let place = std::fs::read_dir(data.path().join("definitions")).unwrap().flatten();
    let place =
        place.map(|entry| entry.file_name().into_string().unwrap()).find(|name| name != "shared").unwrap();
    for path in ["mine", &version, "a%2Fmine", &place] {
        assert_eq!(tenancy.ask(&tenancy.b, "GET", &format!("/v1/templates/{path}")).0, 404, "{path}");
        assert_eq!(
            tenancy.tell(&tenancy.b, "DELETE", &format!("/v1/templates/{path}"), &json!({})).0,
            404,
            "{path}"
        );
    }
    assert_eq!(
        (names(&tenancy.a), names(&tenancy.b)),
        (vec!["mine true".to_owned(), "shared false".to_owned()], vec!["shared false".to_owned()])
    );
    // A session of it, too.
    let (status, session) = tenancy.tell(&tenancy.a, "POST", "/v1/sessions", &json!({"template": "mine"}));
    assert_eq!((status, &session["template"]), (201, &json!("mine")), "{session}");
    let path = format!("/v1/sessions/{}/runs", session["id"].as_str().unwrap());
    let code = json!({"code": "print(open('/opt/template/a').read())"});
    let (_, result) = tenancy.tell(&tenancy.a, "POST", &path, &code);
    assert_eq!(result["stdout"], "of a\n", "{result}");
    assert_eq!(tenancy.tell(&tenancy.b, "POST", "/v1/sessions", &json!({"template": "mine"})).0, 422);
    // Its own goes before everybody's of the same name, for itself alone; what is everybody's only an administrator removes.
    assert_eq!(tenancy.tell(&tenancy.a, "DELETE", "/v1/templates/shared", &json!({})).0, 403);
    assert_eq!(build(&tenancy.a, "shared", "of a, too").0, 201);
    assert_eq!(
        (word(&tenancy.a, "shared").as_str(), word(&tenancy.b, "shared").as_str()),
        ("of a, too", "everybody's")
    );
    // No more than it may have; another version of one is none more.
    let (status, problem) = build(&tenancy.a, "third", "no");
    assert!(status == 422 && problem["detail"].as_str().unwrap().contains("2 may be"), "{problem}");
    assert_eq!(build(&tenancy.a, "shared", "of a, again").0, 201);
    assert_eq!(tenancy.tell(&tenancy.a, "DELETE", "/v1/templates/shared", &json!({})).0, 204);
    assert_eq!(
        (word(&tenancy.a, "shared").as_str(), word(&tenancy.b, "shared").as_str()),
        ("everybody's", "everybody's")
    );
    assert_eq!(build(&tenancy.a, "third", "now").0, 201);
}

#[test]
fn templates_take_no_more_than_they_may() {
    let server =
        Server::start_in(&Data::fresh(), &["--set", "templates.max=2", "--set", "templates.bytes=\"1MiB\""]);
    let made =
        |name: &str, bytes: usize| json!({"name": name, "files": [{"path": "a", "text": "x".repeat(bytes)}]});
    build(&server, &made("a", 10));
    build(&server, &made("b", 2 << 20));
    let (field, detail) = refused(&server, &made("c", 10));
    assert!(field == "name" && detail.contains("2 may be"), "{detail}");
    let (field, detail) = refused(&server, &made("a", 20));
    assert!(field == "name" && detail.contains("bytes"), "{detail}");
    assert_eq!(server.send("DELETE", "/v1/templates/b", &[], b"").status, 204);
    build(&server, &made("a", 20));
}

/// What commands do has no way out, unless the template says which; and nothing of it is in the sandboxes of others.
#[test]
fn commands_reach_what_is_named_and_nothing_else() {
    let server = start(&Data::fresh(), &[]);
    let fetch = "python3 -c \"import urllib.request as u; open('got.txt', 'wb').write(u.urlopen('https://pypi.org/pypi/six/json', timeout=20).read()[:8])\"";
    let (field, detail) = refused(&server, &json!({"name": "reach", "setup": [fetch]}));
    assert_eq!(field, "setup", "{detail}");
    // TLS is a tunnel, and that is a method of its own.
    let by = |method: &str| json!({"name": "reach", "setup": [fetch], "setup_egress": {"allow": ["pypi.org"], "methods": [method]}});
    let (field, detail) = refused(&server, &by("GET"));
    assert_eq!(field, "setup", "{detail}");
    build(&server, &by("CONNECT"));
    let code = "print(open('/opt/template/got.txt').read())\nimport os; print('https_proxy' in os.environ)";
    assert_eq!(completed(&server, &of("reach", code)).stdout, "{\"info\":\nFalse\n");
}

#[test]
fn a_build_ends_with_the_limits_of_its_settings() {
    let settings = [
        "packages.build_timeout_ms=\"3s\"",
        "packages.build_memory=\"96MiB\"",
        "packages.build_disk=\"16MiB\"",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
    let server = Server::start_in(&Data::fresh(), &arguments);
    for (command, words) in [
        ("sleep 600", "was ended: timed_out"),
        ("head -c 64M /dev/zero > large", ""),
        ("python3 -c 'bytearray(512 << 20)'", ""),
    ] {
        let (field, detail) = refused(&server, &json!({"name": "a", "setup": [command]}));
        assert!(field == "setup" && detail.contains(words), "{command}: {detail}");
    }
    // As many as there may be, within them.
    build(
        &server,
        &json!({"name": "a", "setup": vec!["head -c 9M /dev/zero > large"; 100], "modules": vec!["os"; 100]}),
    );
}

#[test]
fn the_example_is_built_by_the_command_and_shown() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/packages/science.toml");
    let (example, page) = (std::fs::read_to_string(path).unwrap(), include_str!("../../docs/templates.md"));
    let (_, definition) = example.split_once("\n\n").unwrap();
    assert!(page.contains(&format!("```toml\n{definition}```")), "docs/templates.md shows another example");
    let tell = |arguments: &[&str]| {
        let output = command(data.path()).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    };
    let (built, said) = tell(&["template", "build", path]);
    assert!(built.starts_with("science science@"), "{built}");
    assert!(said.contains("setup 1: tr a-z A-Z") && said.contains("importing tabulate"), "{said}");
    let (listed, _) = tell(&["template", "list"]);
    assert!(listed.lines().any(|line| line.starts_with("science ") && line.contains("built")), "{listed}");
    let code = "import os, tabulate; print(tabulate.tabulate([r.split(',') for r in open('/opt/template/shouted.csv')], tablefmt='plain'))";
    let (printed, _) = tell(&["run", "--template", "science", "-l", "python", "-c", code]);
    assert_eq!(printed, "OSLO    709000\nLIMA  10092000\n");
    let (printed, _) = tell(&["run", "--local", "--template", "science", "-l", "python", "-c", code]);
    assert_eq!(printed, "OSLO    709000\nLIMA  10092000\n");
    drop(server);
    let (removed, _) = tell(&["template", "remove", "science"]);
    assert_eq!(removed, "removed science\n");
}

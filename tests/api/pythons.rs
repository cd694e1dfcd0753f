//! Other Pythons than the image's: a version that is asked for is the one that runs, with packages and in sessions; one that is not there is refused
//! by the names of those that are. Needs a second Python on the machine.

use super::packages::{completed, start};
use super::sessions::{open, run};
use fireclay_tests::{Data, Server};
use serde_json::{Value, json};

const VERSION: &str = "import sys, zlib, ssl, ctypes, sqlite3; print('%d.%d.%d' % sys.version_info[:3])";

fn rejected(server: &Server, request: &Value) -> Value {
    let (status, problem) = server.post_json("/v1/runs", request);
    assert_eq!(status, 422, "{problem}");
    problem
}

/// The image's own version, and the others that the machine has, as the service names them when it is asked for one that nobody has.
fn versions(server: &Server) -> (String, Vec<String>) {
    let own = completed(server, &json!({"language": "python", "code": VERSION})).stdout.trim().to_owned();
    let problem = rejected(server, &json!({"language": "python", "code": "1", "python": "3.99"}));
    assert_eq!(problem["field"], "python", "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    let named = detail.split("Python ").nth(1).and_then(|rest| rest.split(" are here").next());
    let named = named
        .unwrap_or_else(|| panic!("{detail}: these tests need another Python than the image's, from 3.9 on"));
    let all: Vec<String> = named.split(", ").map(str::to_owned).filter(|version| *version != own).collect();
    assert!(!all.is_empty(), "{problem}");
    (own, all)
}

fn series(version: &str) -> &str {
    version.rsplit_once('.').unwrap().0
}

/// Another version, of another series than the image's.
fn another<'a>(own: &str, others: &'a [String]) -> &'a str {
    let other = others.iter().rev().find(|version| series(version) != series(own));
    other.unwrap_or_else(|| panic!("{others:?}: these tests need a Python of another series than {own}"))
}

#[test]
fn the_version_that_is_asked_for_runs_and_no_other() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let (own, others) = versions(&server);
    let other = another(&own, &others);
    let asked = |fields: Value| {
        let mut request = json!({"language": "python", "code": VERSION});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        completed(&server, &request)
    };
    let first = asked(json!({"python": other}));
    assert_eq!(first.stdout.trim(), other);
    let plain = asked(json!({}));
    assert_eq!(plain.stdout.trim(), own);
    assert_ne!(first.digests.image, plain.digests.image);
    // Its own series is the image's own, and no image is made for it.
    assert_eq!(asked(json!({"python": series(&own)})).digests.image, plain.digests.image);
    // A warm one, and one that is executed (a variable that is read at the start), are the same.
    assert_eq!(asked(json!({"python": other})).stdout.trim(), other);
    assert_eq!(asked(json!({"python": other, "env": {"PYTHONHASHSEED": "0"}})).stdout.trim(), other);
    // What a program or a project says is obeyed without being asked for.
    let block = format!("# /// script\n# requires-python = \"=={other}\"\n# ///\n{VERSION}");
    assert_eq!(completed(&server, &json!({"language": "python", "code": block})).stdout.trim(), other);
    let project = format!("[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \"=={other}\"\n");
    let files = json!({"files": [{"path": "pyproject.toml", "text": project}]});
    assert_eq!(asked(files).stdout.trim(), other);
    // A shell of it has it, too.
    let shell = json!({"language": "bash", "code": "python3 -c 'import sys; print(sys.version.split()[0])'; python --version", "python": other});
    assert_eq!(completed(&server, &shell).stdout, format!("{other}\nPython {other}\n"));
    // Packages are for that version.
    let with = json!({"language": "python", "packages": ["markupsafe"], "python": other,
        "code": "import sys, markupsafe._speedups as s; print('%d.%d.%d' % sys.version_info[:3], 'cpython-%d%d' % sys.version_info[:2] in s.__file__)"});
    assert_eq!(completed(&server, &with).stdout, format!("{other} True\n"));
}

#[test]
fn what_contradicts_or_cannot_be_is_refused_with_what_there_is() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let (own, others) = versions(&server);
    let other = another(&own, &others);
    let block = format!("# /// script\n# requires-python = \"=={own}\"\n# ///\nprint(1)");
    let problem = rejected(&server, &json!({"language": "python", "code": block, "python": series(other)}));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(" and ") && detail.contains(other) && detail.contains(&own), "{problem}");
    for (language, word) in
        [("python", "2.7"), ("python", "pypy3.10"), ("python", "/usr/bin/python3"), ("javascript", "3.11")]
    {
        let problem = rejected(&server, &json!({"language": language, "code": "1", "python": word}));
        assert_eq!(problem["field"], "python", "{problem}");
    }
    // A template's packages are for one Python: of another they are not there, and that is said.
    let science = json!({"language": "python", "code": "1", "template": "python-data", "python": other});
    let problem = rejected(&server, &science);
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains(&format!("--image python-{other}")), "{problem}");
    // uv, if it may bring one, says in its words why it cannot.
    drop(server);
    let bringing = start(&data, &["python.download=true"]);
    let problem = rejected(&bringing, &json!({"language": "python", "code": "1", "python": "3.99"}));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("are here; uv could not bring it: ") && detail.contains("3.99"), "{problem}");
    drop(bringing);
    // An operator may say that there are none.
    let alone = start(&Data::fresh(), &["python.detect=false"]);
    let problem = rejected(&alone, &json!({"language": "python", "code": "1", "python": other}));
    assert!(problem["detail"].as_str().unwrap().contains(&format!("Python {own} is here")), "{problem}");
}

#[test]
fn a_session_has_one_python() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let (own, others) = versions(&server);
    let other = another(&own, &others);
    let id = open(&server, &json!({"python": other, "packages": ["six"]}));
    let result = run(&server, &id, &json!({"code": format!("import six\n{VERSION}\nx = 1")}));
    assert_eq!(result["stdout"].as_str().unwrap().trim(), other, "{result}");
    let cell = run(
        &server,
        &id,
        &json!({"code": "%pip install markupsafe\nimport markupsafe, sys; print(x, sys.version_info[1])"}),
    );
    let minor = series(other).split_once('.').unwrap().1;
    assert!(cell["stdout"].as_str().unwrap().ends_with(&format!("1 {minor}\n")), "{cell}");
    let (status, problem) = server.post_json(&format!("{id}/runs"), &json!({"code": "1", "python": own}));
    assert_eq!((status, &problem["field"]), (422, &json!("python")), "{problem}");
    let view: Value = serde_json::from_slice(&server.get(&id).1).unwrap();
    assert_eq!(view["python"], other);
}

#[test]
fn a_template_of_ones_own_names_its_python_and_packages_may_be_those_that_are_there() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let (own, others) = versions(&server);
    let other = another(&own, &others);
    let made = json!({"name": "old", "python": series(other), "packages": ["six"], "modules": ["six"]});
    let (status, built) = server.post_json("/v1/templates", &made);
    assert_eq!(status, 201, "{built}");
    let code = format!("import six\n{VERSION}");
    let result = completed(&server, &json!({"language": "python", "code": code, "template": "old"}));
    assert_eq!(series(result.stdout.trim()), series(other));
    // With the image's Python its packages are not what they were built for.
    let problem =
        rejected(&server, &json!({"language": "python", "code": code, "template": "old", "python": own}));
    assert!(problem["detail"].as_str().unwrap().contains("was built for"), "{problem}");
    // What is there may be used, nothing is fetched.
    let asked = |offline: bool| json!({"language": "python", "code": "import six", "packages": ["six"], "offline": offline});
    let problem = rejected(&server, &asked(true));
    assert!(problem["detail"].as_str().unwrap().contains("offline"), "{problem}");
    completed(&server, &asked(false));
    completed(&server, &asked(true));
}

/// A template on an image that has a name: its runs, packages and sessions have that image's Python, and others do not. One that is not there is
/// refused with those that are.
#[test]
fn a_template_names_the_image_that_it_is_made_on() {
    let data = Data::fresh();
    let server = start(&data, &[]);
    let (own, others) = versions(&server);
    let other = another(&own, &others);
    let image = format!("python-{other}");
    let build = |name: &str, fields: Value| {
        let mut definition = json!({"name": name, "base": "python"});
        definition.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        server.post_json("/v1/templates", &definition)
    };
    let refused = |name: &str, fields: Value| {
        let (status, problem) = build(name, fields);
        assert_eq!((status, problem["field"].as_str()), (422, Some("image")), "{problem}");
        problem
    };
    // An image of this name is made for the first run of that version, here or in another test.
    completed(&server, &json!({"language": "python", "code": VERSION, "python": other}));
    for name in ["no-such-image", "../default"] {
        let problem = refused("room", json!({"image": name}));
        assert!(
            problem["detail"].as_str().unwrap().contains(&format!("there is no image {name:?}")),
            "{problem}"
        );
        let hint = problem["hint"].as_str().unwrap();
        assert!(hint.contains("default, ") && hint.contains(&image), "{problem}");
    }
    refused("room", json!({"image": image, "python": other}));
    let setup = ["python3 -c 'import sys; print(\"%d.%d.%d\" % sys.version_info[:3])' > version.txt"];
    let (status, built) = build(
        "room",
        json!({"image": image, "packages": ["markupsafe"], "setup": setup, "modules": ["markupsafe"]}),
    );
    assert_eq!(status, 201, "{built}");
    let code = "import sys, markupsafe._speedups as s\nprint('%d.%d.%d' % sys.version_info[:3], 'cpython-%d%d' % sys.version_info[:2] in s.__file__, open('/opt/template/version.txt').read().strip())";
    let of_room = |code: &str| json!({"language": "python", "template": "room", "code": code});
    let all = format!("{other} True {other}\n");
    assert_eq!(completed(&server, &of_room(code)).stdout, all);
    let mut beside = of_room(&format!("import six\n{code}"));
    beside["packages"] = json!(["six"]);
    assert_eq!(completed(&server, &beside).stdout, all);
    let session = open(&server, &json!({"template": "room"}));
    assert_eq!(run(&server, &session, &json!({"code": code}))["stdout"], all);
    let shell = json!({"language": "bash", "code": "python3 --version"});
    assert_eq!(run(&server, &session, &shell)["stdout"], format!("Python {other}\n"));
    // What it has will do, by its name too; nothing else will.
    let mut asked = of_room(VERSION);
    asked["python"] = json!(series(other));
    assert_eq!(completed(&server, &asked).stdout.trim(), other);
    asked["python"] = json!(own);
    let problem = rejected(&server, &asked);
    assert_eq!(problem["field"], "python", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(&format!("has Python {other}")), "{problem}");
    let block = format!("# /// script\n# requires-python = \"=={own}\"\n# ///\n{VERSION}");
    assert_eq!(rejected(&server, &of_room(&block))["field"], "requires-python in code");
    // Control: the same template without it has the service's own.
    assert_eq!(build("plain", json!({"setup": setup})).0, 201);
    let plain = json!({"language": "python", "template": "plain", "code": "print(open('/opt/template/version.txt').read().strip())"});
    assert_eq!(completed(&server, &plain).stdout.trim(), own);
}

//! What is declared: requirements, `requirements.txt`, `pyproject.toml`, script metadata, npm.

use crate::refused::{Refused, Why};
use crate::requirement::Requirement;
use crate::{npm, package_json, pyproject, requirements_txt, script};

fn refusal(entry: &str) -> Refused {
    entry.parse::<Requirement>().expect_err(entry)
}

fn printed(requirements: &[Requirement]) -> Vec<String> {
    requirements.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_no_package_of_an_index_is_refused_by_its_name() {
    let option = |name: &str| Why::Option(name.to_owned());
    for (entry, why) in [
        ("requests @ https://evil.test/r.whl", Why::Url),
        ("requests@https://evil.test/r.whl", Why::Url),
        ("requests @ file:///etc/passwd", Why::Url),
        ("https://evil.test/r-1.0-py3-none-any.whl", Why::Url),
        ("file:///etc/passwd", Why::Url),
        ("lodash@4", Why::Url),
        ("git+ssh://git@evil.test/r.git", Why::Vcs),
        ("git+https://github.com/a/b@main#egg=b", Why::Vcs),
        ("b @ git+https://github.com/a/b", Why::Vcs),
        ("hg+http://evil.test/r", Why::Vcs),
        ("./local", Why::Path),
        ("../local", Why::Path),
        ("/etc/passwd", Why::Path),
        ("~/x", Why::Path),
        ("C:\\x", Why::Path),
        ("dir/pkg", Why::Path),
        ("r-1.0-py3-none-any.whl", Why::Path),
        ("r-1.0.tar.gz", Why::Path),
        ("requirements.txt", Why::Path),
        ("pyproject.toml", Why::Path),
        ("setup.py", Why::Path),
        ("-e .", Why::Editable),
        ("-e git+https://github.com/a/b", Why::Editable),
        ("--editable=.", Why::Editable),
        ("-r other.txt", option("-r")),
        ("-rother.txt", option("-r")),
        ("--requirement other.txt", option("--requirement")),
        ("--index-url https://evil.test/simple", option("--index-url")),
        ("--index-url=https://evil.test/simple", option("--index-url")),
        ("--extra-index-url https://evil.test/simple", option("--extra-index-url")),
        ("--find-links https://evil.test", option("--find-links")),
        ("--trusted-host evil.test", option("--trusted-host")),
        ("requests --index-url https://evil.test/simple", option("--index-url")),
        ("requests\n--index-url=https://evil.test", option("--index-url")),
        ("-i https://evil.test", option("-i")),
        ("", Why::Empty),
        (" \t", Why::Empty),
        ("nämé", Why::Version("ämé".to_owned())),
        ("_x", Why::Name),
    ] {
        assert_eq!(refusal(entry).why, why, "{entry}");
    }
    // Names that look like files and are none.
    for name in ["discord.py", "web.py", "zope.interface", "python-tar", "txt", "a.b"] {
        assert!(name.parse::<Requirement>().is_ok(), "{name}");
    }
}

#[test]
fn a_refusal_names_the_entry_and_the_fix() {
    assert_eq!(
        refusal("requests @ https://evil.test/r.whl").to_string(),
        "requests @ https://evil.test/r.whl: is a direct URL; name a release of the package index, such as name==1.0"
    );
    assert_eq!(
        refusal("--index-url https://x").to_string(),
        "--index-url https://x: has the option --index-url; leave the option out; where packages come from is the operator's to say"
    );
    assert_eq!(refusal(" ").to_string(), "\"\": names no package; name a package, such as pandas>=2");
    let rejection = refusal("-e .").rejection("packages");
    assert_eq!(
        (rejection.field.as_str(), rejection.message.as_str()),
        ("packages", "-e .: is an editable installation")
    );
    // What a message repeats is bounded and without control characters.
    let hostile = refusal(&format!("\u{1b}[2J\u{202e}{}", "x".repeat(1000))).to_string();
    assert!(hostile.chars().count() < 300 && hostile.chars().all(|letter| !letter.is_control()), "{hostile}");
    assert!(!hostile.contains('\u{202e}'));
}

#[test]
fn a_requirement_is_printed_normalized() {
    for (entry, canonical) in [
        ("Pandas >= 2", "pandas>=2"),
        (
            "requests [Security,tests] >= 2.8.1, == 2.8.* ; python_version < \"2.7\"",
            "requests[security,tests]>=2.8.1,==2.8.* ; python_version < \"2.7\"",
        ),
        ("Friendly-Bard", "friendly-bard"),
        ("FRIENDLY-BARD", "friendly-bard"),
        ("friendly.bard", "friendly-bard"),
        ("friendly_bard", "friendly-bard"),
        ("friendly--bard", "friendly-bard"),
        ("FrIeNdLy-._.-bArD", "friendly-bard"),
        ("name (>=3,<4)", "name>=3,<4"),
        ("name[]", "name"),
    ] {
        assert_eq!(entry.parse::<Requirement>().expect(entry).to_string(), canonical);
    }
}

#[test]
fn a_file_of_requirements_is_read_as_pip_does() {
    let hash = "a".repeat(64);
    let text = format!(
        "\u{feff}# comment\n\nDjango>=4 # web\r\nrequests \\\n  >=2 \\\n    --hash=sha256:{hash} \\\n    --hash sha256:{hash}\nx\\\n# no part of it\ny\nz==1 --hash=sha512:{hash}{hash}\n  indented  \nlast\\"
    );
    let entries = requirements_txt::parse(&text).expect("a file of requirements");
    let shown = |requirement: &Requirement| {
        let text = requirement.to_string();
        text.split(" --hash=").next().unwrap_or_default().to_owned()
    };
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| (entry.line, shown(&entry.requirement), entry.requirement.hashes.len()))
        .collect();
    let expected = [
        (3, "django>=4", 0),
        (4, "requests>=2", 1),
        (8, "x", 0),
        (10, "y", 0),
        (11, "z==1", 1),
        (12, "indented", 0),
        (13, "last", 0),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(line, text, hashes)| (*line, (*text).to_owned(), *hashes)).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_files_options_are_refused_by_name_and_line() {
    for (line, why) in [
        ("-r other.txt", Why::Option("-r".to_owned())),
        ("-c constraints.txt", Why::Option("-c".to_owned())),
        ("--index-url https://evil.test", Why::Option("--index-url".to_owned())),
        ("--pre", Why::Option("--pre".to_owned())),
        ("x --global-option=y", Why::Option("--global-option".to_owned())),
        ("x --config-settings a=b", Why::Option("--config-settings".to_owned())),
        ("x --hash=md5:00", Why::Hash),
        ("x --hash=sha256:00", Why::Hash),
        ("x --hash", Why::Hash),
        ("-e .", Why::Editable),
        ("${EVIL}", Why::Name),
        ("x @ https://evil.test", Why::Url),
        // A continued line is one line: no option hides in it.
        ("x \\\n --index-url=https://evil.test", Why::Option("--index-url".to_owned())),
        ("x --ha\\\nsh=md5:0", Why::Hash),
    ] {
        let refused = requirements_txt::parse(&format!("good\n{line}\n")).expect_err(line);
        assert_eq!((refused.line, refused.why), (Some(2), why), "{line}");
    }
}

#[test]
fn a_project_says_what_it_needs() {
    let text = "[build-system]\nrequires = ['hatchling']\n[project]\nname = 'x'\nrequires-python = '>=3.11,<4'\ndependencies = ['httpx', 'Gidgethub[httpx]>4.0.0', \"django>2.1; os_name != 'nt'\"]\n[project.optional-dependencies]\ngui = ['PyQt5 @ https://x']\n";
    let project = pyproject::parse(text).expect("a project");
    assert_eq!(
        printed(&project.dependencies),
        ["httpx", "gidgethub[httpx]>4.0.0", "django>2.1 ; os_name != 'nt'"]
    );
    let python = project.requires_python.expect("versions of Python");
    let allows = |version: &str| python.allow(&version.parse().expect("a version"));
    assert!(allows("3.13.0") && allows("3.11") && !allows("3.10.9") && !allows("4.0"));
    assert_eq!(
        pyproject::parse("[tool.black]\nline-length = 1").expect("no project"),
        pyproject::Project::default()
    );
    for (text, why) in [
        ("[project]\ndynamic = ['dependencies']", Why::Dynamic),
        ("[project]\ndependencies = 'x'", Why::Field { field: "dependencies", kind: "a list of texts" }),
        ("[project]\ndependencies = [1]", Why::Field { field: "dependencies", kind: "a list of texts" }),
        ("[project]\nrequires-python = 3", Why::Field { field: "requires-python", kind: "a text" }),
        ("[project]\nrequires-python = '3.x'", Why::Version("3.x".to_owned())),
        ("[project]\ndependencies = ['x @ https://evil.test']", Why::Url),
        ("project = 1", Why::Field { field: "project", kind: "a table" }),
        (
            "[project]\ndependencies = ['x']\n[tool.uv.sources]\nx = { git = 'https://evil.test' }",
            Why::Source("tool.uv.sources".to_owned()),
        ),
        (
            "[tool.uv]\nindex-url = 'https://evil.test'\n[project]",
            Why::Source("tool.uv.index-url".to_owned()),
        ),
    ] {
        assert_eq!(pyproject::parse(text).expect_err(text).why, why, "{text}");
    }
    assert!(matches!(pyproject::parse("[project").expect_err("no TOML").why, Why::Syntax(_)));
}

/// The example of PEP 723, and what goes wrong.
#[test]
fn a_script_says_what_it_needs() {
    let example = "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"requests<3\",\n#   \"rich\",\n# ]\n# ///\n\nimport requests\n";
    let project = script::parse(example).expect("metadata").expect("a block");
    assert_eq!(printed(&project.dependencies), ["requests<3", "rich"]);
    assert_eq!(project.requires_python.expect("versions").to_string(), ">=3.11");
    assert_eq!(
        script::parse(&example.replace('\n', "\r\n"))
            .expect("metadata")
            .map(|project| project.dependencies.len()),
        Some(2)
    );
    assert_eq!(script::parse("print(1)"), Ok(None));
    assert_eq!(script::parse(&format!("{example}{example}")).expect_err("two").why, Why::Blocks);
    let with = |line: &str| script::parse(&format!("# /// script\n# {line}\n# ///\n"));
    assert_eq!(with("dependencies = ['git+https://evil.test/x']").expect_err("an address").why, Why::Vcs);
    assert_eq!(
        with("tool.uv.index = [{url='https://evil.test'}]").expect_err("a source").why,
        Why::Source("tool.uv.index".to_owned())
    );
    assert!(matches!(with("dependencies = [").expect_err("no TOML").why, Why::Syntax(_)));
    assert_eq!(
        with("tool.x.y = 1").expect("another's table").map(|project| project.dependencies.len()),
        Some(0)
    );
}

#[test]
fn packages_of_npm_have_names_and_ranges() {
    for (entry, printed) in [
        ("lodash", "lodash@*"),
        ("lodash@^4.17.0", "lodash@^4.17.0"),
        ("@types/node@20", "@types/node@20"),
        ("@scope/x", "@scope/x@*"),
        ("x@1.x || >=2.5.0 || 5.0.0 - 7.2.3", "x@1.x || >=2.5.0 || 5.0.0 - 7.2.3"),
        ("x@latest", "x@latest"),
        ("x@next-14", "x@next-14"),
        ("x@~1.2.3-beta.1+build.5", "x@~1.2.3-beta.1+build.5"),
        ("x@>= 1.2", "x@>= 1.2"),
        ("x@", "x@*"),
        ("JSONStream@1", "JSONStream@1"),
        ("socket.io", "socket.io@*"),
    ] {
        assert_eq!(entry.parse::<npm::Requirement>().expect(entry).to_string(), printed);
    }
    for (entry, why) in [
        ("x@git+https://evil.test/x.git", Why::Vcs),
        ("x@github:a/b", Why::Vcs),
        ("x@a/b", Why::Vcs),
        ("a/b", Why::Vcs),
        ("x@https://evil.test/x.tgz", Why::Url),
        ("https://evil.test/x.tgz", Why::Url),
        ("x@file:../x", Why::Path),
        ("x@link:../x", Why::Path),
        ("x@workspace:*", Why::Path),
        ("./x", Why::Path),
        ("x.tgz", Why::Path),
        ("x@npm:evil@1", Why::Alias),
        ("--registry=https://evil.test", Why::Option("--registry=https://evil.test".to_owned())),
        ("", Why::Empty),
        ("@scope", Why::Name),
        ("@a/b/c", Why::Name),
        (".hidden", Why::Path),
        ("_x", Why::Name),
        ("node_modules", Why::Name),
        ("x y", Why::Name),
        ("x@1.2.3.4", Why::Version("1.2.3.4".to_owned())),
        ("x@>>1", Why::Version(">>1".to_owned())),
        ("x@1 >", Why::Version("1 >".to_owned())),
        ("x@$(id)", Why::Version("$(id)".to_owned())),
    ] {
        assert_eq!(entry.parse::<npm::Requirement>().expect_err(entry).why, why, "{entry}");
    }
    assert!(npm::is_name(&"a".repeat(214)) && !npm::is_name(&"a".repeat(215)));
}

#[test]
fn a_package_json_says_what_it_needs() {
    let text = r#"{"name":"x","scripts":{"postinstall":"id"},"dependencies":{"express":"^4","@a/b":"","c":"1.x"},"devDependencies":{"d":"file:x"}}"#;
    let needs: Vec<String> =
        package_json::parse(text).expect("a package").iter().map(ToString::to_string).collect();
    assert_eq!(needs, ["express@^4", "@a/b@*", "c@1.x"]);
    assert_eq!(package_json::parse("{}"), Ok(Vec::new()));
    for (text, why) in [
        (r#"{"dependencies":{"x":"git://evil.test/x"}}"#, Why::Vcs),
        (r#"{"dependencies":{"x":"file:.."}}"#, Why::Path),
        (r#"{"dependencies":{"x":"http://evil.test"}}"#, Why::Url),
        (r#"{"dependencies":{"x":1}}"#, Why::Field { field: "dependencies", kind: "an object of texts" }),
        (r#"{"dependencies":[]}"#, Why::Field { field: "dependencies", kind: "an object" }),
        (r#"{"dependencies":{"../x":"1"}}"#, Why::Path),
        (r#"{"overrides":{"x":"file:.."}}"#, Why::Source("overrides".to_owned())),
    ] {
        assert_eq!(package_json::parse(text).expect_err(text).why, why, "{text}");
    }
    for text in ["", "[]", "{", &"[".repeat(1_000_000)] {
        assert!(matches!(package_json::parse(text).expect_err("no object").why, Why::Syntax(_)));
    }
}

/// Many beginnings without an end: the reference implementation takes time by the square of their number, we do not. Were this so here too, the test
/// would not come to its end.
#[test]
fn a_script_of_beginnings_is_read_in_time() {
    let begun = "# /// script\n".repeat(400_000);
    assert_eq!(script::content(&begun), Ok(None));
    assert_eq!(script::content(&format!("{begun}x\n# /// script\n# a\n# ///\n")), Ok(Some("a\n".to_owned())));
}

#[test]
fn files_are_bounded() {
    let long = "#".repeat(crate::FILE_BYTES_MAX);
    assert_eq!(requirements_txt::parse(&long), Ok(Vec::new()));
    assert!(pyproject::parse(&long).is_ok());
    let longer = format!("{long}#");
    assert!(requirements_txt::parse(&longer).is_err() && pyproject::parse(&longer).is_err());
    let spaces = " ".repeat(crate::FILE_BYTES_MAX - 2);
    assert!(package_json::parse(&format!("{{}}{spaces}")).is_ok());
    assert!(package_json::parse(&format!("{{}} {spaces}")).is_err());
    assert_eq!(requirements_txt::parse(&"a\n".repeat(1000)).map(|entries| entries.len()), Ok(1000));
    assert!(requirements_txt::parse(&"a\n".repeat(1001)).is_err());
    // What nests is an error and not the end of the stack.
    assert!(pyproject::parse(&format!("x = {}", "[".repeat(500_000))).is_err());
    assert!(pyproject::parse(&format!("{}=1", "a.".repeat(300_000))).is_err());
}

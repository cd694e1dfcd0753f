//! Languages by declaration: compiled and run by the machine's own tools, cached, and limited; what a hostile program does to its compiler.
//! Attack group LG.

use super::batches::batch;
use super::packages::completed;
use super::tenancy::Tenancy;
use fireclay_tests::run::command;
use fireclay_tests::{Data, Server};
use model::{Outcome, RunResult};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What `scripts/test-dependencies` sees to; the others are tested where the machine has them.
const ALWAYS: [&str; 9] = ["c", "cpp", "go", "java", "perl", "php", "r", "ruby", "rust"];

/// A program of each that reads a line, an argument, a file and a variable, and leaves a file.
const PROGRAMS: [(&str, &str); 9] = [
    (
        "c",
        "#include <stdio.h>\n#include <stdlib.h>\n#include <math.h>\nint main(int n, char **a) { char s[99], t[99]; scanf(\"%98s\", s);\n\
         fscanf(fopen(\"in.txt\", \"r\"), \"%98s\", t); fputs(\"out\", fopen(\"out.txt\", \"w\"));\n\
         printf(\"%s %s %s %s %.0f\\n\", s, a[1], t, getenv(\"WORD\"), sqrt(n * 8.0)); return 3; }\n",
    ),
    (
        "cpp",
        "#include <bits/stdc++.h>\nusing namespace std;\nint main(int n, char **a) { string s, t; cin >> s; ifstream(\"in.txt\") >> t;\n\
         ofstream(\"out.txt\") << \"out\"; vector<int> v(4, 1);\n\
         cout << s << ' ' << a[1] << ' ' << t << ' ' << getenv(\"WORD\") << ' ' << accumulate(v.begin(), v.end(), 0) << endl; return 3; }\n",
    ),
    (
        "rust",
        "use std::{env, fs, io};\nfn main() { let mut s = String::new(); io::stdin().read_line(&mut s).unwrap(); let t = fs::read_to_string(\"in.txt\").unwrap();\n\
         fs::write(\"out.txt\", \"out\").unwrap(); let a: Vec<String> = env::args().collect();\n\
         println!(\"{} {} {} {} {}\", s.trim(), a[1], t, env::var(\"WORD\").unwrap(), a.len() * 2); std::process::exit(3) }\n",
    ),
    (
        "go",
        "package main\nimport (\"fmt\"; \"os\")\nfunc main() { var s string; fmt.Scan(&s); t, _ := os.ReadFile(\"in.txt\")\n\
         os.WriteFile(\"out.txt\", []byte(\"out\"), 0o644)\n\
         fmt.Println(s, os.Args[1], string(t), os.Getenv(\"WORD\"), len(os.Args) * 2); os.Exit(3) }\n",
    ),
    (
        "java",
        "import java.nio.file.*;\nimport java.util.*;\npublic class Main { record P(int x) {}\n\
         public static void main(String[] a) throws Exception { String s = new Scanner(System.in).next();\n\
         String t = Files.readString(Path.of(\"in.txt\")); Files.writeString(Path.of(\"out.txt\"), \"out\");\n\
         System.out.println(s + \" \" + a[0] + \" \" + t + \" \" + System.getenv(\"WORD\") + \" \" + new P(4).x()); System.exit(3); } }\n",
    ),
    (
        "ruby",
        "require 'json'\ns = STDIN.gets.strip; t = File.read('in.txt'); File.write('out.txt', 'out')\n\
         puts [s, ARGV[0], t, ENV['WORD'], JSON.parse('[4]')[0]].join(' '); exit 3\n",
    ),
    (
        "perl",
        "use strict; use warnings; use List::Util qw(sum); use POSIX qw(floor);\nmy $s = <STDIN>; chomp $s; open(my $f, '<', 'in.txt'); my $t = <$f>;\n\
         open(my $o, '>', 'out.txt'); print $o 'out'; close $o; print join(' ', $s, $ARGV[0], $t, $ENV{WORD}, floor(sum(1, 3.5))), \"\\n\"; exit 3;\n",
    ),
    (
        "php",
        "<?php $s = trim(fgets(STDIN)); $t = file_get_contents('in.txt'); file_put_contents('out.txt', 'out');\n\
         echo implode(' ', [$s, $argv[1], $t, getenv('WORD'), json_decode('[4]')[0]]), \"\\n\"; exit(3);\n",
    ),
    (
        "r",
        "s <- readLines(file('stdin'), 1); a <- commandArgs(TRUE); t <- readLines('in.txt', warn = FALSE); cat('out', file = 'out.txt')\n\
         cat(paste(s, a[1], t, Sys.getenv('WORD'), sum(c(1, 3))), '\\n', sep = ''); quit(status = 3)\n",
    ),
];

fn c(code: &str) -> Value {
    json!({"language": "c", "code": code})
}

/// A run whose program was refused by its compiler.
fn refused(server: &Server, request: &Value) -> RunResult {
    let result = server.run(request);
    assert_eq!((result.outcome, result.usage.wall_ms), (Some(Outcome::SetupFailed), 0), "{result:?}");
    result
}

/// The environments of a tenant: what was compiled, too.
fn kept(data: &Path, tenant: &str) -> usize {
    let entries: Vec<PathBuf> = std::fs::read_dir(data.join("packages").join(tenant))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path().join("manifest.json"))
        .collect();
    entries.iter().filter(|path| path.exists()).count()
}

#[test]
fn each_that_the_machine_has_runs_as_any_other() {
    let server = Server::start(&[]);
    for (language, code) in PROGRAMS {
        let (status, template) = server.get_json(&format!("/v1/templates/{language}"));
        assert_eq!((status, &template["languages"]), (200, &json!([language])));
        if template["ready"] == json!(false) {
            assert!(
                !ALWAYS.contains(&language),
                "scripts/test-dependencies brings what {language} needs: {template}"
            );
            let hint = template["hint"].as_str().unwrap();
            assert!(hint.contains("this machine has no ") && hint.contains("apt-get install "), "{hint}");
            let (status, problem) =
                server.post_json("/v1/runs", &json!({"language": language, "code": code}));
            assert_eq!((status, problem["field"].as_str()), (422, Some("language")), "{problem}");
            eprintln!("NOT TESTED: {language}, which this machine does not have: {hint}");
            continue;
        }
        let request = json!({"language": language, "code": code, "stdin": "in\n", "args": ["arg"], "env": {"WORD": "word"},
            "files": [{"path": "in.txt", "text": "file"}]});
        let result = server.run(&request);
        let told = (result.stdout.as_str(), result.exit_code, result.outcome);
        assert_eq!(told, ("in arg file word 4\n", Some(3), Some(Outcome::Failed)), "{language}: {result:?}");
        let left: Vec<&str> = result.artifacts.iter().map(|left| left.path.as_str()).collect();
        assert_eq!((left, result.language.name()), (vec!["out.txt"], language));
    }
    // Limits are a run's, and its sandbox has no compiler.
    let slow = json!({"language": "c", "code": "int main() { for (;;); }", "limits": {"timeout_ms": 200}});
    assert_eq!(server.run(&slow).outcome, Some(Outcome::TimedOut));
    let none = "#include <stdlib.h>\nint main() { return system(\"command -v gcc as ld\") == 0; }";
    completed(&server, &c(none));
    // No interpreter of it stays in a session.
    let (status, problem) = server.post_json("/v1/sessions", &json!({"template": "c"}));
    assert_eq!((status, problem["field"].as_str()), (422, Some("template")), "{problem}");
}

#[test]
fn what_a_compiler_says_names_the_line_of_the_user() {
    let server = Server::start(&[]);
    let wrong = refused(&server, &c("#include <stdio.h>\nint main() {\n  return nothing;\n}\n"));
    assert!(
        wrong.stderr.contains("main.c:3:10: error: 'nothing' undeclared")
            || wrong.stderr.contains("main.c:3:10: error: ‘nothing’ undeclared"),
        "{wrong:?}"
    );
    assert_eq!((wrong.exit_code, wrong.limits_hit.len()), (Some(1), 0), "{wrong:?}");
    // Told again without the compiler, and after it is mended it runs; a warning is none.
    let named = json!({"file_name": "src/a b.c", "code": "#include \"sub/x.h\"\nint main() { X }\n",
        "files": [{"path": "src/sub/x.h", "text": "#define X oops;\n"}]});
    let wrong = refused(&server, &named);
    assert!(
        wrong.stderr.contains("src/a b.c:2:14: ") && wrong.stderr.contains("src/sub/x.h:1:11: "),
        "{wrong:?}"
    );
    assert_eq!(refused(&server, &named).stderr, wrong.stderr);
    let mended = json!({"file_name": "src/a b.c", "code": named["code"], "files": [{"path": "src/sub/x.h", "text": "#define X int y; return 0;\n"}]});
    completed(&server, &mended);
    completed(&server, &c("main() { char *x = 1; return 0; }"));
    // A grader's programs in a batch: one is right, one is wrong, one does not compile.
    let sum = |sign: &str| {
        c(&format!(
            "#include <stdio.h>\nint main() {{ int a, b; scanf(\"%d %d\", &a, &b); printf(\"%d\\n\", a {sign} b); }}"
        ))
    };
    let cases = json!([{"stdin": "1 2", "expected": "3"}, {"stdin": "20 22", "expected": "42"}]);
    let items = [json!({"programs": [sum("+"), sum("-"), sum("?")], "cases": cases})];
    let (answers, _) = batch(&server, "", &items);
    let verdicts: Vec<&str> =
        answers[0]["programs"].as_array().unwrap().iter().filter_map(|one| one["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["passed", "wrong_answer", "setup_failed"], "{answers:?}");
    let said = answers[0]["programs"][2]["cases"][1]["stderr"].as_str().unwrap();
    assert!(said.contains("main.c:2:"), "{said}");
}

#[test]
fn a_hostile_program_gets_nothing_from_its_compiler() {
    let settings = [
        "packages.compile_timeout_ms=\"4s\"",
        "packages.compile_memory=\"256MiB\"",
        "packages.compile_disk=\"32MiB\"",
    ];
    let data = Data::fresh();
    let server =
        Server::start_in(&data, &settings.iter().flat_map(|setting| ["--set", *setting]).collect::<Vec<_>>());
    // Files of the host are not there, and of the sandbox's own there is nothing to learn.
    for path in ["/etc/shadow", "/root/.profile", "/proc/1/environ", "/workspace/x"] {
        let read = refused(&server, &c(&format!("#include \"{path}\"\nint main() {{}}")));
        assert!(
            read.stderr.contains("No such file") || read.stderr.contains("Permission denied"),
            "{read:?}"
        );
    }
    let assembled = "__asm__(\".incbin \\\"/etc/shadow\\\"\");\nint main() {}";
    assert!(refused(&server, &c(assembled)).stderr.contains("/etc/shadow"));
    // Bombs end with their limits, as their own result.
    let endless = refused(&server, &c("#include __FILE__\n#include __FILE__\n"));
    assert!(
        endless.stderr.contains("the compile step was ended") || endless.stderr.contains("nested"),
        "{endless:?}"
    );
    let templates = "template<unsigned N, unsigned M> struct F { static const unsigned v = F<N - 1, M * 2>::v + F<N - 1, M * 2 + 1>::v; };\n\
                     template<unsigned M> struct F<0, M> { static const unsigned v = M & 1; };\nint main() { return F<26, 1>::v; }\n";
    let templates = refused(&server, &json!({"language": "cpp", "code": templates}));
    let is_ended =
        templates.stderr.contains("the compile step was ended") && !templates.limits_hit.is_empty();
    assert!(
        is_ended || templates.stderr.contains("memory") || templates.stderr.contains("Killed"),
        "{templates:?}"
    );
    for large in [
        "const char x[1 << 30] = {1};\nint main() { return x[5]; }",
        "__asm__(\".section .data\\n.org 0x180000000\\n.byte 1\\n.text\");\nint main() {}",
    ] {
        let large = refused(&server, &c(large));
        assert!(
            large.stderr.contains("File size limit") || large.stderr.contains("No space left"),
            "{large:?}"
        );
    }
    // The next program has a compiler as if nothing had been.
    completed(&server, &c("int main() {}"));
    assert_eq!(kept(data.path(), "local"), 1, "what was refused is not kept");
}

#[test]
fn an_operators_own_way_to_compile_is_as_closed() {
    let data = Data::fresh();
    let server = Server::start_in(&data, &["--set", "packages.compile_disk=\"32MiB\""]);
    let define = |name: &str, compile: &str| {
        let definition = json!({"name": name, "base": "c", "compile": compile, "env": {"MODE": "own"},
            "files": [{"path": "include/house.h", "text": "#define HOUSE 7\n"}]});
        let (status, built) = server.post_json("/v1/templates", &definition);
        assert_eq!(status, 201, "{built}");
    };
    let program =
        "#include <house.h>\n#include <stdio.h>\nint main() { printf(\"%d %d\\n\", HOUSE, DEBUG); }";
    let of = |template: &str| json!({"language": "c", "template": template, "code": program});
    define(
        "debug-c",
        "gcc -g -DDEBUG=1 -I/opt/template/include -o \"$OUT/main\" \"$FILE\" && [ \"$MODE\" = own ]",
    );
    assert_eq!(completed(&server, &of("debug-c")).stdout, "7 1\n");
    // It sees no network but its own, and no room beyond its own.
    define("net-c", "cat /proc/net/dev >&2; exec 3<>/dev/tcp/1.1.1.1/443 || false");
    let net = refused(&server, &of("net-c"));
    let interfaces: Vec<&str> = net
        .stderr
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .filter(|name| !name.contains(' ') && !name.starts_with('/'))
        .collect();
    assert_eq!(interfaces, ["lo"], "{net:?}");
    assert!(net.stderr.contains("unreachable"), "{net:?}");
    // A file with a hole is as long as it says, and so are two.
    define("hole-c", "truncate -s 20M \"$OUT/main\"; truncate -s 20M \"$OUT/other\"");
    let hole = refused(&server, &of("hole-c"));
    assert!(hole.stderr.contains("more than 33554432 bytes"), "{hole:?}");
    define("link-c", "ln -s /etc/passwd \"$OUT/main\"");
    assert!(refused(&server, &of("link-c")).stderr.contains("neither a file nor a directory"));
    let (status, problem) =
        server.post_json("/v1/templates", &json!({"name": "x", "base": "python", "compile": "true"}));
    assert_eq!((status, problem["field"].as_str()), (422, Some("compile")), "{problem}");
}

#[test]
fn tenants_have_what_they_compiled_apart_and_the_same_is_compiled_once() {
    let data = Data::fresh();
    let tenancy = Tenancy::start_in(&data, &[]);
    let request = c("#include <stdio.h>\nint main() { puts(__TIME__); }");
    let mut times = Vec::new();
    for key in [&tenancy.a, &tenancy.a, &tenancy.b] {
        let (status, result) = tenancy.tell(key, "POST", "/v1/runs", &request);
        assert_eq!((status, result["outcome"].as_str()), (200, Some("completed")), "{result}");
        times.push(result["digests"]["image"].as_str().unwrap().to_owned());
    }
    assert_eq!(times[0], times[1], "compiled twice");
    let tenants = std::fs::read_dir(data.path().join("packages")).unwrap();
    let mut kept: Vec<usize> =
        tenants.map(|entry| kept(data.path(), entry.unwrap().file_name().to_str().unwrap())).collect();
    kept.sort_unstable();
    assert_eq!(kept, [1, 1], "each tenant has its own");
    // A toolchain that nobody uses may be removed, and is copied again when it is needed.
    let toolchains = || {
        let entries = std::fs::read_dir(data.path().join("toolchains")).unwrap().flatten();
        entries.filter(|entry| entry.path().join("manifest.json").exists()).count()
    };
    assert_eq!(toolchains(), 1);
    let pruned = data.command(&["cache", "prune"]).output().unwrap();
    assert!(pruned.status.success() && pruned.stdout.starts_with(b"removed 1, "), "{pruned:?}");
    assert_eq!(toolchains(), 0);
    let (status, again) = tenancy.tell(&tenancy.b, "POST", "/v1/runs", &c("int main() { return 0; }"));
    assert_eq!((status, again["outcome"].as_str(), toolchains()), (200, Some("completed"), 1), "{again}");
}

#[test]
fn the_command_line_compiles_by_the_files_name() {
    let server = Server::start(&[]);
    let ran = |arguments: &[&str]| {
        let mut run = command(server.data.path());
        fireclay_tests::run::Ran::from(run.arg("run").args(arguments).output().unwrap())
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/languages/");
    let ok = ran(&[&format!("{path}median.c"), "--stdin", &format!("{path}numbers.txt")]);
    assert_eq!((ok.code, ok.stdout.as_str(), ok.stderr.as_str()), (0, "7\n", ""));
    let wrong = ran(&["--language", "c++", "-c", "int main() { return x; }"]);
    assert!(wrong.code == 3 && wrong.stderr.contains("main.cpp:1:21: error: "), "{wrong:?}");
    let local = ran(&["--local", "-l", "c", "-c", "int main() {}"]);
    assert!(local.code == 2 && local.stderr.contains("compiled"), "{local:?}");
    // The example of a grader: a program and its cases.
    let mut graded = command(server.data.path());
    let graded = graded.args(["batch", &format!("{path}grade.jsonl")]).output().unwrap();
    let mut answers: Vec<Value> = String::from_utf8(graded.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    answers.sort_by_key(|answer| answer["index"].as_u64());
    assert_eq!(
        (answers[0]["verdict"].as_str(), answers[1]["verdict"].as_str()),
        (Some("passed"), Some("wrong_answer")),
        "{answers:?}"
    );
}

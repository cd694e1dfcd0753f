//! What a naive supervisor has run inside: its own environment, runner, timer.

use super::{Weakness, Weaknesses};
use model::{Language, RunSpec};
use sandbox::command::Command;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

/// Ten lines around the program, which keep a word for themselves and import what they need when they need it.
const RUNNER: &str = r#"
import sys


def main():
    token, file = "@TOKEN@", sys.argv[1]
    sys.argv = sys.argv[1:]
    import ast
    with open(file) as text:
        tree = ast.parse(text.read(), file)
    names = {"__name__": "__main__", "__file__": file}
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), names)
    value = eval(compile(ast.Expression(last.value), file, "eval"), names) if last else None
    if "@PICKLES@":
        import pickle
        vars(sys.modules["__main__"]).update(names)
        if value is not None:
            open(3, "wb").write(pickle.dumps(value))
    elif value is not None:
        import json
        text = json.dumps({"text/plain": repr(value)}).encode()
        open(3, "wb").write(b"\x01" + len(text).to_bytes(4, "little") + text)


main()
"#;

/// The engine's command with what the weaknesses make of it.
pub(super) fn command(mut command: Command, spec: &RunSpec, weak: &Weaknesses) -> Command {
    let pickles = weak.has(Weakness::UnpicklesResults);
    if spec.language == Language::Python && (pickles || weak.has(Weakness::RunsItsOwnRunner)) {
        let token = std::env::var("CANARY").unwrap_or_default();
        let runner = RUNNER.replace("@TOKEN@", &token).replace("@PICKLES@", if pickles { "yes" } else { "" });
        let file = format!("/workspace/{}", spec.file_name);
        command.args = vec![command.args[0].clone(), c"-c".into(), word(runner), word(file)];
    }
    if weak.has(Weakness::CountsProcessorTime) {
        let limit = format!("ulimit -t {}; exec \"$@\"", spec.limits.timeout_ms.div_ceil(1000));
        let shell = ["/bin/bash", "-c", &limit, "bash"].map(|part| word(part.to_owned()));
        command.args.splice(0..0, shell);
    }
    if weak.has(Weakness::PassesItsEnvironment) {
        let own = std::env::vars_os().filter_map(|(name, value)| {
            let has = |word: &CString| word.to_bytes().starts_with(&[name.as_encoded_bytes(), b"="].concat());
            let pair = [name.as_encoded_bytes(), b"=", &value.into_vec()].concat();
            (!command.env.iter().any(has)).then(|| CString::new(pair).ok()).flatten()
        });
        let own: Vec<CString> = own.collect();
        command.env.extend(own);
    }
    command
}

/// Begins the program with a timer that ends it.
pub(super) fn add_timer(spec: &mut RunSpec) {
    let ms = spec.limits.timeout_ms;
    let timer = match spec.language {
        Language::Python => format!(
            "import signal; signal.signal(signal.SIGALRM, lambda *_: exit(124)); signal.setitimer(signal.ITIMER_REAL, {ms} / 1000)\n"
        ),
        Language::JavaScript | Language::TypeScript => {
            format!("setTimeout(() => process.exit(124), {ms}).unref();\n")
        }
        Language::Bash => format!("(sleep {}; kill $$) &\n", ms.div_ceil(1000)),
        // No attack is written in one that is declared.
        _ => String::new(),
    };
    spec.code.insert_str(0, &timer);
}

fn word(text: String) -> CString {
    CString::new(text).expect("a test's words have no NUL")
}

//! `fireclay run`: output, exit codes, limits, mistakes.

use fireclay_tests::fireclay;

#[test]
fn python_prints_and_exits_0() {
    let ran = fireclay(&["run", "-c", "print(1)"], b"");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "1\n", ""));
}

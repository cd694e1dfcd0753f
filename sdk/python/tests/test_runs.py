"""Runs, as a caller sees them, with the synchronous client; the asynchronous one is the same text (test_generated.py)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import List

import pytest

from fireclay import Display, Fireclay, NotFound, Rejected, RunFailed, RunRequest, RunResult, RunSummary


def test_a_run_has_its_output_value_and_outcome(fc: Fireclay) -> None:
    run = fc.run("print('hello')\n{'answer': 6 * 7}")
    assert (run.outcome, run.exit_code, run.stdout, run.stderr) == ("completed", 0, "hello\n", "")
    assert run.ok and run.value == {"answer": 42}
    assert run.check() is run
    assert "seccomp" in run.isolation.layers and run.usage.memory_peak_bytes > 0


def test_the_four_languages(fc: Fireclay) -> None:
    assert fc.run("echo $((6 * 7))", "bash").stdout == "42\n"
    assert fc.run("console.log(6 * 7)", "javascript").stdout == "42\n"
    assert fc.run("const n: number = 42; console.log(n)", "typescript").stdout == "42\n"
    assert fc.run("#!/bin/bash\necho 42").stdout == "42\n"
    assert fc.run("console.log(42)", file_name="x.js").stdout == "42\n"


def test_what_code_does_is_a_result_and_an_error_when_asked(fc: Fireclay) -> None:
    run = fc.run("1/0")
    assert run.outcome == "failed" and run.exit_code == 1 and not run.ok
    assert run.error is not None and run.error.name == "ZeroDivisionError"
    with pytest.raises(RunFailed, match="ZeroDivisionError: division by zero") as failed:
        run.check()
    assert failed.value.run is run


def test_limits_are_named_when_they_are_hit(fc: Fireclay) -> None:
    run = fc.run("while True: pass", limits={"timeout_ms": 200})
    assert run.outcome == "timed_out" and run.limits_hit == ["timeout"]
    with pytest.raises(RunFailed, match="timed_out"):
        run.check()
    assert fc.run("x = bytearray(10**9)", limits={"memory_bytes": 64 << 20}).outcome == "memory_exceeded"


def test_input_arguments_environment_and_labels(fc: Fireclay) -> None:
    code = "import os, sys\nprint(sys.stdin.read(), sys.argv[1:], os.environ['WHO'], os.path.basename(os.getcwd()))"
    run = fc.run(code, stdin="in", args=["a", "b c"], env={"WHO": "me"}, files={"d/f": ""}, cwd="d", metadata={"k": "v"})
    assert run.stdout == "in ['a', 'b c'] me d\n" and run.metadata == {"k": "v"}


def test_files_go_in_and_artifacts_come_out(fc: Fireclay, tmp_path: Path) -> None:
    (tmp_path / "local.txt").write_bytes(b"local")
    code = (
        "import os, pathlib as p\np.Path('out/x y').mkdir(parents=True)\n"
        "p.Path('out/x y/ä#?.bin').write_bytes(p.Path('raw').read_bytes() + p.Path('l').read_bytes())\n"
        "print(p.Path('t').read_text())"
    )
    run = fc.run(code, files={"t": "text", "raw": b"\xff\x00", "l": tmp_path / "local.txt"})
    assert run.stdout == "text\n", run.stderr
    assert [file.path for file in run.artifacts] == ["out/x y/ä#?.bin"]
    assert fc.runs.artifact(run, "out/x y/ä#?.bin") == b"\xff\x00local"
    [saved] = fc.runs.save_artifacts(run, tmp_path / "saved")
    assert saved == tmp_path / "saved" / "out" / "x y" / "ä#?.bin" and saved.read_bytes() == b"\xff\x00local"
    with pytest.raises(NotFound):
        fc.runs.artifact(run, "none")


def test_files_as_the_api_has_them(fc: Fireclay) -> None:
    run = fc.run("./tool", "bash", files=[{"path": "tool", "text": "#!/bin/sh\necho ran", "executable": True}])
    assert run.stdout == "ran\n"


def test_a_stream_has_output_as_it_comes(fc: Fireclay) -> None:
    with fc.stream("import sys\nprint('first', flush=True)\nsys.stderr.buffer.write(b'\\xff\\n')") as stream:
        events = list(stream)
    assert [event.kind for event in events] == ["started", "stdout", "stderr", "settled"]
    assert (events[1].text, events[2].data, events[2].text) == ("first\n", b"\xff\n", "\ufffd\n")
    assert [event.id for event in events] == [1, 2, 3, 4]
    assert stream.result == events[-1].result and stream.result.ok and stream.run_id == stream.result.id


def test_lines_end_at_line_feeds_only(fc: Fireclay) -> None:
    odd = "a\u2028b\u0085c\x0bd\x1ce\rf"
    code = f"import sys\nsys.stdout.write({odd!r})"
    assert fc.stream(code).until_done().stdout == odd
    [answer] = fc.run_batch([{"language": "python", "code": code}])
    assert answer.run is not None and answer.run.stdout == odd


def test_a_run_on_its_way_is_followed_and_taken_back(fc: Fireclay) -> None:
    submitted = fc.runs.submit({"language": "python", "code": "print('on', flush=True)\nwhile True: pass"})
    assert isinstance(fc.runs.get(submitted.id), RunSummary)
    with fc.runs.follow(submitted.id) as stream:
        assert next(event for event in stream if event.kind == "stdout").text == "on\n"
        fc.runs.remove(submitted.id)
        assert stream.until_done().outcome == "cancelled"
    settled = fc.runs.get(submitted.id)
    assert isinstance(settled, RunResult) and settled.outcome == "cancelled"
    assert [event.kind for event in fc.runs.follow(submitted.id, after=2)] == ["settled"]
    fc.runs.remove(submitted.id)
    with pytest.raises(NotFound):
        fc.runs.get(submitted.id)


def test_submitted_runs_are_waited_for_and_listed(fc: Fireclay) -> None:
    label = uuid.uuid4().hex
    requests: List[RunRequest] = [{"language": "python", "code": f"print({n})", "metadata": {"test": label}} for n in range(3)]
    ids = [fc.runs.submit(request).id for request in requests]
    assert [fc.runs.wait(id).stdout for id in ids] == ["0\n", "1\n", "2\n"]
    listed = fc.runs.list(metadata=f"test={label}", limit=1)
    assert [next(listed).id, next(listed).id, next(listed).id] == ids[::-1]
    assert next(listed, None) is None


def test_the_same_key_is_the_same_run(fc: Fireclay) -> None:
    code = "import random; print(random.random())"
    key = uuid.uuid4().hex
    first, second = (fc.run(code, idempotency_key=key) for _ in range(2))
    assert first.id == second.id and first.stdout == second.stdout


def test_a_mistake_says_what_would_do(fc: Fireclay) -> None:
    with pytest.raises(Rejected, match="there is no template") as caught:
        fc.run("1", template="nope")
    problem = caught.value.problem
    assert (caught.value.status, problem.type, problem.field) == (422, "/problems/invalid-request", "template")
    assert "python-data" in problem.hint
    with pytest.raises(Rejected):
        fc.run("\ud800")


def test_limits_and_version(fc: Fireclay) -> None:
    assert fc.limits().ceiling.timeout_ms >= fc.limits().limits.timeout_ms > 0
    assert fc.version().version.count(".") == 2


def test_displays_are_saved(tmp_path: Path) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    display = Display({"image/png": pixel, "text/plain": "<Figure>", "application/json": {"a": 1}})
    assert display.save(tmp_path / "p.png").read_bytes()[1:4] == b"PNG"
    assert display.save(tmp_path / "p.json").read_text() == '{"a": 1}'
    with pytest.raises(ValueError, match=r"'.svg'"):
        display.save(tmp_path / "p.svg")

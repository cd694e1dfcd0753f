"""Sessions, as a caller sees them, with the synchronous client; the asynchronous one is the same text (test_generated.py)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, Iterator, List

import httpx
import pytest

from fireclay import (
    AsyncFireclay,
    Conflict,
    Display,
    Fireclay,
    FireclayError,
    Forbidden,
    NoRoom,
    NotFound,
    Rejected,
    RunFaulted,
    RunResult,
    Session,
    Unreachable,
)

from .test_transport import FAULT, SETTLED, Service, problem

VIEW = {
    "id": "ses_1", "state": "open", "name": "", "created_at": "", "template": "python", "background": "frozen", "ports": False,
    "packages": [],
    "priority": "normal",
    "runs": {"queued": 0, "running": 0, "completed": 0, "failed": 0},
}  # fmt: skip
ENDLESS = "print('on', flush=True)\nwhile True: pass"


@pytest.fixture
def session(fc: Fireclay) -> Iterator[Session]:
    """A session of the template python."""
    with fc.session() as opened:
        yield opened


def test_state_stays_between_runs(session: Session) -> None:
    session.run("import math\nx = 6")
    run = session.run("x * math.comb(7, 1)")
    assert run.value == 42 and run.session == session.id and run.state_lost is None
    assert session.run("1/0").outcome == "failed" and session.run("x").value == 6


def test_every_language_has_an_interpreter_and_all_share_the_files(session: Session) -> None:
    session.run("y=7; echo $y > seven", language="bash")
    assert session.run("echo $y; cat seven", "bash").stdout == "7\n7\n"
    assert session.run("open('seven').read()").value == "7\n"
    session.run("const z = 8", "javascript")
    assert session.run("console.log(z)", "javascript").stdout == "8\n"


def test_a_run_has_its_own_input_environment_and_directory(session: Session) -> None:
    session.files.mkdir("d")
    code = "import os\nprint(input(), os.environ['WHO'], os.path.basename(os.getcwd()))"
    assert session.run(code, stdin="in", env={"WHO": "me"}, cwd="d").stdout == "in me d\n"
    assert "WHO" not in session.run("dict(os.environ)").value


def test_a_run_that_takes_too_long_is_interrupted_and_keeps_state(session: Session) -> None:
    session.run("kept = 1")
    run = session.run("while True: pass", limits={"timeout_ms": 200})
    assert run.outcome == "timed_out" and not run.state_lost and session.run("kept").value == 1


def test_a_fresh_run_shares_files_and_nothing_else(session: Session) -> None:
    session.run("x = 1; open('f', 'w').write('shared')")
    run = session.run("print(open('f').read(), 'x' in globals())", fresh=True, args=["a"], limits={"memory_bytes": 64 << 20})
    assert run.stdout == "shared False\n", run.stderr
    private = session.run("import os\nopen('left', 'w')\nos.listdir('.')", fresh=True, cwd="private")
    assert "f" not in private.value and [file.path for file in private.artifacts] == ["left"]
    with pytest.raises(Rejected, match="fresh") as caught:
        session.run("1", limits={"memory_bytes": 64 << 20})
    assert caught.value.problem.field == "limits.memory_bytes"


def test_a_stream_is_interrupted(session: Session) -> None:
    session.run("kept = 1")
    with session.stream(ENDLESS) as stream:
        with pytest.raises(FireclayError, match="not begun"):
            session.interrupt(stream)
        assert next(event for event in stream if event.kind == "stdout").text == "on\n"
        assert session.interrupt(stream) is True
        assert stream.until_done().outcome == "cancelled"
    # What is settled is not forgotten.
    assert session.interrupt(stream) is False and session.run("kept").value == 1


def test_submitted_runs_are_done_in_order(fc: Fireclay, session: Session) -> None:
    session.run("seen = []")
    submitted = [session.submit(f"seen.append({n}); seen") for n in range(3)]
    assert [fc.runs.wait(run.id).value for run in submitted] == [[0], [0, 1], [0, 1, 2]]
    listed = fc.runs.list(session=session.id)
    assert [next(listed).id for _ in submitted] == [run.id for run in submitted[::-1]]


def test_map_has_results_in_order_each_of_a_directory_of_its_own(session: Session) -> None:
    code = "import os\nn = int(input())\nopen(f'left-{n}', 'x')\nprint(n * n, len(os.listdir('.')))"
    runs = list(session.map(code, [str(n) for n in range(9)], concurrency=3))
    assert [run.stdout for run in runs] == [f"{n * n} 2\n" for n in range(9)], runs[0].stderr
    assert [run.artifacts[0].path for run in runs] == [f"left-{n}" for n in range(9)]
    assert session.files.list(recursive=True).items == []
    with pytest.raises(ValueError, match="at least 1"):
        next(session.map(code, ["1"], concurrency=0))


def test_map_has_no_more_on_their_way_than_it_may(session: Session) -> None:
    asked: List[str] = []

    def inputs() -> Iterator[str]:
        for n in range(5):
            counts = session.look().runs
            asked.append("" if counts.queued + counts.running <= 2 else f"{counts} before {n}")
            yield str(n)

    assert len(list(session.map("import time; time.sleep(0.1); input()", inputs(), concurrency=2))) == 5
    assert asked == [""] * 5


def test_map_that_is_left_takes_back_what_is_on_its_way(fc: Fireclay, session: Session) -> None:
    results = session.map("import sys\nwhile input() != '0': sys.stdin = open('/dev/zero')", ["0", "1", "2"])
    assert next(results).ok
    results.close()  # type: ignore[attr-defined]
    left = [fc.runs.wait(run.id).outcome for run in fc.runs.list(session=session.id)]
    assert sorted(map(str, left)) == ["cancelled", "cancelled", "completed"]


def test_restart_clears_state_and_keeps_files(session: Session) -> None:
    session.run("x = 1; open('f', 'w').write('kept')")
    assert session.restart().state == "open"
    run = session.run("x")
    assert run.error is not None and run.error.name == "NameError"
    assert session.files.read("f") == b"kept"


def test_what_a_session_is_opened_with(fc: Fireclay) -> None:
    options: Any = {"limits": {"memory_bytes": 96 << 20, "timeout_ms": 900}, "env": {"WHO": "us"}}
    with fc.session(name="mine", language="bash", idle_ttl=90, ttl=timedelta(minutes=5), **options) as session:
        view = session.view
        assert (view.name, view.language, view.template, view.idle_ttl_ms) == ("mine", "bash", "python", 90_000)
        assert view.limits is not None and (view.limits.memory_bytes, view.limits.timeout_ms) == (96 << 20, 900)
        assert session.run("echo $WHO").stdout == "us\n"
        assert session.run("import os; os.environ['WHO']", file_name="x.py").value == "us"
        renewed = session.renew(idle_ttl=timedelta(seconds=30), ttl=600)
        assert renewed.idle_ttl_ms == 30_000 and str(renewed.expires_at) > str(view.expires_at)
        assert session.look().runs.completed == 2
    assert session.view.state == "ended" and session.view.end is not None and session.view.end.why == "closed"
    with pytest.raises(Rejected, match="there is no template"):
        fc.sessions.create(template="nope")


def test_a_port_is_linked_to_by_a_session_that_asked(fc: Fireclay, session: Session) -> None:
    with pytest.raises(Forbidden, match="without ports"):
        session.port_url(8000)
    with fc.session(ports=True) as asked:
        assert asked.view.ports
        host = f"http://8000-{asked.id[4:]}.localhost:"
        assert asked.port_url(8000).startswith(host) and asked.port_url(8000) != asked.port_url(8000)


def test_a_session_is_found_again_listed_and_closed(fc: Fireclay, url: str) -> None:
    opened = fc.sessions.create(name="found")
    opened.run("x = 42; open('f', 'w').write('kept')")
    with Fireclay(url) as other:
        again = other.sessions.open(opened.id)
        assert again.view.name == "found" and again.run("x").value == 42
    assert opened.id in {view.id for view in fc.sessions.list("open")}
    assert fc.sessions.close(opened.id).state == "ended"
    assert opened.id not in {view.id for view in fc.sessions.list(state="open")}
    assert next(fc.sessions.list("ended")).id == opened.id == fc.sessions.get(opened.id).id
    # To close twice is to close once; files are there for a while.
    assert fc.sessions.close(opened.id).state == "ended" == opened.close().state
    assert opened.files.read("f") == b"kept"
    for change in (lambda: opened.run("1"), lambda: opened.files.write("f", ""), lambda: opened.renew(ttl=1), opened.restart):
        with pytest.raises(Conflict, match="ended"):
            change()
    with pytest.raises(NotFound):
        fc.sessions.open("ses_00000000000000000000000000")


def test_the_end_of_a_block_closes_what_an_error_left(fc: Fireclay) -> None:
    with pytest.raises(KeyError), fc.session() as session:
        raise KeyError("of the block")
    assert fc.sessions.get(session.id).state == "ended"


def test_files(session: Session, tmp_path: Path) -> None:
    files = session.files
    (tmp_path / "local").write_bytes(b"\xff\x00")
    odd = "a b/ä#?%2e&=.txt"
    assert files.write(odd, "text ☃").bytes == len("text ☃".encode())
    files.write("raw", b"\x00\xfe")
    assert files.write("tool", tmp_path / "local", executable=True).executable
    assert (files.read_text(odd), files.read("raw"), files.read("tool")) == ("text ☃", b"\x00\xfe", b"\xff\x00")
    assert session.run(f"open({odd!r}).read()").value == "text ☃"
    assert [(file.path, file.kind) for file in files.list().items] == [("a b", "directory"), ("raw", "file"), ("tool", "file")]
    assert [file.path for file in files.list("a b").items] == [odd]
    assert [file.path for file in files.list(recursive=True, glob="**/*.txt").items] == [odd]
    assert files.mkdir("x/y").kind == "directory" and files.move(odd, "x/y/z").path == "x/y/z"
    with pytest.raises(Conflict, match="something is there"):
        files.move("raw", "x/y/z")
    assert files.move("raw", "x/y/z", replace=True).bytes == 2
    files.remove("x")
    assert [file.path for file in files.list(recursive=True).items] == ["a b", "tool"]
    with pytest.raises(NotFound, match="raw"):
        files.read("raw")


def test_large_files_go_in_pieces(session: Session, tmp_path: Path) -> None:
    block = bytes(range(256)) * 4096
    (tmp_path / "large").write_bytes(block * 24)
    assert session.files.write("large", tmp_path / "large").bytes == 24 << 20
    pieces = list(session.files.stream("large"))
    assert len(pieces) > 24 and b"".join(pieces) == block * 24
    saved = session.files.save("large", tmp_path / "back")
    assert saved == tmp_path / "back" and saved.read_bytes() == block * 24
    with pytest.raises(NotFound):
        session.files.save("none", tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "large"]


def test_a_full_disk_says_how_much_is_left(fc: Fireclay, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    with fc.session(limits={"disk_bytes": 1 << 20}) as session:
        with pytest.raises(NoRoom, match="bytes are left"):
            session.files.write("large", tmp_path / "large")
        assert session.files.list().items == []


@pytest.mark.parametrize("path", ["..", "../..", "a/../../../..", ".", "/etc/passwd", "a//b"])
def test_a_path_leads_to_no_other_address(session: Session, path: str) -> None:
    for ask in (session.files.read, session.files.remove):
        with pytest.raises(Rejected) as caught:
            ask(path)
        assert caught.value.problem.field == "path"
    assert session.look().state == "open"


def test_plots(fc: Fireclay, python_data: None, tmp_path: Path) -> None:
    with fc.session(template="python-data") as session:
        session.run("import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})").check()
        [plot] = session.run("df.plot()").displays
    assert plot.mime == "image/png" and plot.data[1:4] == b"PNG"
    assert plot.save(tmp_path / "plot.png").read_bytes() == plot.data


def test_a_display_shows_most_first() -> None:
    display = Display({"text/plain": "x", "text/html": "<b>", "application/json": [1]})
    assert (display.mime, display.data) == ("text/html", b"<b>")
    assert Display({"text/x-other": "o"}).mime == "text/x-other" and Display().mime == ""
    assert Display({"application/pdf": "JVBERg=="}).data == b"%PDF"


def test_the_asynchronous_session(url: str, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"abc" * 500_000)

    async def use() -> str:
        async with AsyncFireclay(url) as fc:
            async with fc.session(name="async") as session:
                await session.run("x = 20")
                async with session.stream("print(x + 1, flush=True)\nwhile True: pass") as stream:
                    async for event in stream:
                        if event.kind == "stdout":
                            assert event.text == "21\n" and await session.interrupt(stream)
                assert stream.result.outcome == "cancelled"
                assert [run.stdout async for run in session.map("print(input())", ["a", "b"])] == ["a\n", "b\n"]
                await session.files.write("f", tmp_path / "local")
                assert await (await fc.sessions.open(session.id)).files.read("f") == b"abc" * 500_000
                saved = await session.files.save("f", tmp_path / "saved")
                assert saved.stat().st_size == 1_500_000
                several = await asyncio.gather(*(session.run("x += 1; x") for _ in range(4)))
                assert sorted(run.value for run in several) == [21, 22, 23, 24]
                await session.restart()
                await session.renew(ttl=60)
            return (await fc.sessions.get(session.id)).state

    assert asyncio.run(use()) == "ended"


def test_a_run_of_a_session_is_not_made_again_after_a_fault(waits: List[float]) -> None:
    faulted = {**SETTLED, "outcome": None, "fault": FAULT}
    service = Service(httpx.Response(201, json=VIEW), httpx.Response(200, json=faulted))
    session = service.client().sessions.create()
    with pytest.raises(RunFaulted):
        session.run("x += 1")
    assert len(service.asked) == 2 and waits == []


def test_a_run_of_a_session_is_asked_for_again_with_its_key(waits: List[float]) -> None:
    answers = [httpx.Response(201, json=VIEW), httpx.ReadError("cut"), httpx.Response(200, json=SETTLED)]
    service = Service(*answers)
    run = service.client().sessions.create().run("x += 1", fresh=True)
    assert isinstance(run, RunResult) and str(service.asked[1].url) == "http://service/v1/sessions/ses_1/runs"
    assert service.asked[1].headers["idempotency-key"] == service.asked[2].headers["idempotency-key"]


def test_a_session_is_not_opened_twice() -> None:
    service = Service(httpx.ReadError("cut"))
    with pytest.raises(Unreachable):
        service.client().sessions.create()
    assert len(service.asked) == 1


def test_a_file_is_sent_again_from_its_beginning(waits: List[float], tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"abc")
    sent: List[bytes] = []
    written = {"path": "f", "kind": "file", "bytes": 3, "modified_at": "", "executable": False}

    class Reading(Service):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.method == "PUT":
                sent.append(request.read())
            return super().__call__(request)

    service = Reading(httpx.Response(201, json=VIEW), httpx.ReadError("cut"), httpx.Response(200, json=written))
    assert service.client().sessions.create().files.write("f", tmp_path / "local").bytes == 3
    assert sent == [b"abc", b"abc"]


def test_the_close_of_a_block_hides_no_error_of_it(waits: List[float]) -> None:
    service = Service(httpx.Response(201, json=VIEW), problem(500, retry_safe=False), httpx.Response(201, json=VIEW), problem(403))
    client = service.client()
    with pytest.raises(KeyError), client.session():
        raise KeyError("of the block")
    with pytest.raises(Rejected), client.session():
        pass

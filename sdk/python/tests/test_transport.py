"""What is sent again and what is not, against a service that fails on purpose (httpx's own mock transport)."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Callable, Dict, Iterator, List

import httpx
import pytest

from fireclay import (
    AsyncFireclay,
    Conflict,
    Faulted,
    Fireclay,
    FireclayError,
    Rejected,
    RunFaulted,
    TooMany,
    Unauthenticated,
    Unreachable,
)

pytestmark = pytest.mark.usefixtures("waits")

SETTLED: Dict[str, Any] = {
    "id": "run_1", "state": "settled", "outcome": "completed", "exit_code": 0, "stdout": "1\n", "stderr": "",
    "stdout_truncated": False, "stderr_truncated": False, "limits_hit": [], "displays": [], "artifacts": [], "findings": [],
    "egress": [], "language": "python", "created_at": "", "metadata": {}, "from_the_future": {"a": 1},
    "usage": {"wall_ms": 1, "cpu_ms": 1, "memory_peak_bytes": 1, "queue_ms": 0},
    "isolation": {"level": "default", "layers": [], "missing": []},
    "digests": {"code": "", "inputs": "", "image": "", "policy": "", "outputs": ""},
}  # fmt: skip
FAULT = {"code": "internal", "message": "a disk", "retry_safe": True}


def problem(status: int, retry_safe: Any = None, headers: Any = None) -> httpx.Response:
    said = {"type": "/problems/x", "title": "t", "status": status, "detail": "d", "hint": "h", "retry_safe": retry_safe}
    return httpx.Response(status, headers=headers, json=said)


class Service:
    """Gives its answers in turn and remembers what was asked. An answer that is an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers: Iterator[Any] = iter(answers)
        self.asked: List[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    def client(self, retries: int = 3) -> Fireclay:
        http = httpx.Client(transport=httpx.MockTransport(self))
        return Fireclay("http://service/", "fc_key", retries=retries, http_client=http)

    def keys(self) -> List[str]:
        return [request.headers["idempotency-key"] for request in self.asked]


def test_a_key_goes_along() -> None:
    service = Service(httpx.Response(200, json=SETTLED))
    assert service.client().run("1").stdout == "1\n"
    [request] = service.asked
    assert str(request.url) == "http://service/v1/runs" and request.headers["authorization"] == "Bearer fc_key"
    assert json.loads(request.content) == {"code": "1", "language": "python"}


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), problem(500, retry_safe=True)],
)
def test_a_run_is_sent_again_with_its_key(failure: Any) -> None:
    service = Service(failure, httpx.Response(200, json=SETTLED))
    assert service.client().run("1").ok
    assert len(service.asked) == 2 and len(set(service.keys())) == 1


def test_the_service_says_when_to_come_again(waits: List[float]) -> None:
    service = Service(
        problem(429, headers={"retry-after": "7"}), problem(503, headers={"retry-after": "900"}), httpx.Response(200, json=SETTLED)
    )
    assert service.client().run("1").ok
    assert waits == [7.0, 30.0]


def test_waits_grow_and_end(waits: List[float]) -> None:
    service = Service(*[httpx.ReadTimeout("slow")] * 4)
    with pytest.raises(Unreachable, match="http://service"):
        service.client().run("1")
    assert len(service.asked) == 4 and len(waits) == 3
    assert all(0.125 * 2**n <= wait <= 0.25 * 2**n for n, wait in enumerate(waits))


def test_no_retries_when_none_are_wanted() -> None:
    service = Service(problem(429))
    with pytest.raises(TooMany):
        service.client(retries=0).run("1")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(422), Rejected),
        (problem(401), Unauthenticated),
        (problem(409), Conflict),
        (problem(500), Faulted),
        (problem(500, False), Faulted),
    ],
)
def test_what_stays_wrong_is_not_sent_again(answer: httpx.Response, kind: Any) -> None:
    service = Service(answer)
    with pytest.raises(kind, match="d; h"):
        service.client().run("1")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "ask", [lambda fc: fc.runs.remove("run_1"), lambda fc: list(fc.run_batch([])), lambda fc: fc.batches.submit([])]
)
def test_what_could_be_done_twice_is_not_sent_again(ask: Callable[[Fireclay], Any]) -> None:
    service = Service(httpx.ReadError("reset"))
    with pytest.raises(Unreachable):
        ask(service.client())
    # These were not taken, or did no harm, by the service's own words.
    service = Service(httpx.ConnectError("refused"), problem(429), problem(500, retry_safe=True), problem(404))
    with pytest.raises(Rejected):
        ask(service.client())
    assert len(service.asked) == 4


def test_a_fault_is_tried_again_as_a_new_run_and_then_raised() -> None:
    faulted = {**SETTLED, "outcome": None, "fault": FAULT}
    service = Service(httpx.Response(200, json=faulted), httpx.Response(200, json=SETTLED))
    assert service.client().run("1").ok and len(set(service.keys())) == 2
    for answer, key, times in [
        (faulted, None, 4),
        (faulted, "own", 1),
        ({**faulted, "fault": {**FAULT, "retry_safe": False}}, None, 1),
    ]:
        service = Service(*[httpx.Response(200, json=answer)] * 4)
        with pytest.raises(RunFaulted, match="internal: a disk") as caught:
            service.client().run("1", idempotency_key=key)
        assert len(service.asked) == times and caught.value.run.id == "run_1"


def events(*told: Any, cut: bool = False) -> httpx.Response:
    """A stream of events; a cut one breaks off amidst the last."""
    text = ": hello\n\n" + "".join(f"id: {n}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for n, kind, data in told)

    def body() -> Iterator[bytes]:
        # One byte at a time: no line comes whole.
        yield from (bytes([byte]) for byte in text.encode())
        if cut:
            yield b"id: 9\nevent: stdout\ndata: {"
            raise httpx.ReadError("reset")

    return httpx.Response(200, headers={"location": "/v1/runs/run_1"}, content=body())


def test_a_stream_is_taken_up_where_it_broke() -> None:
    service = Service(
        httpx.ReadError("reset"),
        events((1, "started", {}), (2, "stdout", {"text": "a"}), cut=True),
        events((2, "stdout", {"text": "a"}), (3, "stdout", {"text": "b"})),
        events((4, "settled", SETTLED)),
    )
    with service.client().stream("1") as stream:
        assert [(event.id, event.kind, event.text) for event in stream] == [
            (1, "started", ""), (2, "stdout", "a"), (3, "stdout", "b"), (4, "settled", ""),
        ]  # fmt: skip
    assert stream.result.ok
    first, again, *rest = service.asked
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert [(request.url.path, request.headers["last-event-id"]) for request in rest] == [
        ("/v1/runs/run_1/events", "2"),
        ("/v1/runs/run_1/events", "3"),
    ]


def test_a_stream_that_never_ends_well_is_an_error() -> None:
    service = Service(events((1, "started", {})), events(), events(), events())
    with pytest.raises(Unreachable, match="ended before"):
        list(service.client().stream("1"))
    service = Service(events((1, "started", {}), (2, "problem", json.loads(problem(500).content))))
    with pytest.raises(Faulted):
        list(service.client().stream("1"))
    stream = Service(events((1, "settled", {**SETTLED, "outcome": None, "fault": FAULT}))).client().stream("1")
    with pytest.raises(FireclayError, match="not settled"):
        assert stream.result
    with pytest.raises(RunFaulted):
        stream.until_done()


def test_a_batch_that_breaks_off_is_an_error() -> None:
    lines = b'{"batch":"bat_1"}\n{"index":0,"verdict":"skipped"}\n'
    stream = Service(httpx.Response(200, content=lines)).client().run_batch([{"code": "1"}])
    assert next(stream).verdict == "skipped" and stream.batch_id == "bat_1"
    with pytest.raises(Unreachable, match="bat_1 broke off"):
        next(stream)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"id": "x"}),
        httpx.Response(200, content=b"\xff"),
    ],
)
def test_an_answer_that_is_none_is_an_error_of_this_package(answer: httpx.Response) -> None:
    with pytest.raises(FireclayError):
        Service(answer).client().run("1")


def test_errors_of_others_are_told() -> None:
    for status, kind in [(502, Faulted), (400, Rejected), (302, Rejected)]:
        service = Service(httpx.Response(status, headers={"location": "http://evil/"}, text="<h1>no gateway</h1>"))
        with pytest.raises(kind, match="no gateway"):
            service.client().run("1")
        assert len(service.asked) == 1


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "C:x", ""])
def test_hostile_names_are_not_written(name: str, tmp_path: Any) -> None:
    artifact = {"path": name, "bytes": 1, "sha256": "", "mime": ""}
    client = Service(httpx.Response(200, json={**SETTLED, "artifacts": [artifact]})).client()
    with pytest.raises(FireclayError, match="not safe"):
        client.runs.save_artifacts(client.run("1"), tmp_path / "out")
    assert list(tmp_path.rglob("*")) == []


def test_links_that_lead_out_are_not_followed(tmp_path: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    artifact = {"path": "link/x", "bytes": 1, "sha256": "", "mime": ""}
    client = Service(httpx.Response(200, json={**SETTLED, "artifacts": [artifact]})).client()
    with pytest.raises(FireclayError, match="outside"):
        client.runs.save_artifacts(client.run("1"), tmp_path / "out")


def test_ids_are_one_part_of_a_path() -> None:
    service = Service(problem(404))
    with pytest.raises(Rejected):
        service.client().runs.get("../keys?x")
    assert service.asked[0].url.raw_path == b"/v1/runs/..%2Fkeys%3Fx"


def test_dots_of_a_path_are_not_resolved() -> None:
    service = Service(problem(404), problem(404))
    client = service.client()
    for ask in (lambda: client.runs.remove(".."), lambda: client.runs.artifact("r", "a/../../x")):
        with pytest.raises(Rejected):
            ask()
    assert [request.url.raw_path for request in service.asked] == [b"/v1/runs/%2E%2E", b"/v1/runs/r/artifacts/a/%2E%2E/%2E%2E/x"]


def test_where_the_service_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIRECLAY_URL", raising=False)
    with pytest.raises(FireclayError, match="http://HOST:PORT"):
        Fireclay("localhost:8000")
    monkeypatch.setenv("FIRECLAY_URL", "http://there:1/")
    with Fireclay() as fc:
        assert fc.url == "http://there:1"
    with Fireclay("http://127.0.0.1:9", retries=0) as fc, pytest.raises(Unreachable, match="FIRECLAY_URL"):
        fc.version()


def test_the_asynchronous_client(url: str) -> None:
    async def all_of_it() -> None:
        async with AsyncFireclay(url) as fc:
            runs = await asyncio.gather(*(fc.run(f"print({n})") for n in range(5)))
            assert [run.stdout for run in runs] == [f"{n}\n" for n in range(5)]
            async with fc.stream("print('x')") as stream:
                assert [event.kind async for event in stream] == ["started", "stdout", "settled"]
            assert stream.result.ok
            assert [run.stdout async for run in fc.map("print(input())", ["a", "b"])] == ["a\n", "b\n"]
            run = await fc.run("open('f', 'w').write('x')")
            assert await fc.runs.artifact(run, "f") == b"x"
            assert run.id in [listed.id async for listed in fc.runs.list(since=run.created_at)]

    asyncio.run(all_of_it())

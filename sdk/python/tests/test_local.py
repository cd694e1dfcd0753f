"""The client without an address: the local server is found, started, and found anew. Its own tests are in tests/cli/local.rs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from fireclay import AsyncFireclay, Fireclay, FireclayError, Unreachable, _local


class Home:
    """A user's surroundings, with no server yet."""

    def __init__(self, program: str) -> None:
        self.program = program

    def server(self) -> Dict[str, Any]:
        """The server as its program tells it."""
        said = subprocess.run([self.program, "local", "status", "--json"], stdout=subprocess.PIPE).stdout
        found: Dict[str, Any] = json.loads(said)
        return found

    def stop(self) -> None:
        subprocess.run([self.program, "local", "stop"], check=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    try:
        program = _local.program()
    except FireclayError:
        pytest.skip("this wheel has no program")
    data = tmp_path / "data"
    data.mkdir()
    images = os.environ.get("FIRECLAY_TEST_IMAGES")
    if images:
        (data / "images").symlink_to(images)
    for name in ("FIRECLAY_URL", "FIRECLAY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIRECLAY_DATA", str(data))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    home = Home(program)
    yield home
    home.stop()


def test_clients_without_an_address_share_one_server(home: Home) -> None:
    with Fireclay() as one, Fireclay() as two:
        with one.session(name="mine") as s:
            s.run("x = 41")
            assert [view.name for view in two.sessions.list()] == ["mine"]
            assert two.sessions.open(s.id).run("x + 1").value == 42
        assert one.url == two.url == home.server()["url"]


def test_many_at_once_start_one_server(home: Home) -> None:
    def pid(_: int) -> str:
        with Fireclay() as fc:
            fc.run("1").check()
            return fc.url

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(pid, range(8))) == {home.server()["url"]}


def test_a_server_that_was_killed_is_followed_by_another(home: Home) -> None:
    with Fireclay() as fc:
        assert fc.run("1").ok
        before = home.server()
        os.kill(before["pid"], signal.SIGKILL)
        assert fc.run("print(2)").stdout == "2\n"
        assert home.server()["pid"] != before["pid"]


def test_no_request_is_sent_to_where_a_server_was(home: Home, waits: List[float]) -> None:
    with Fireclay() as fc:
        assert fc.run("1").ok
        home.stop()
        assert fc.run("print(3)").stdout == "3\n" and waits == []


def test_asynchronous_clients_find_it_too(home: Home) -> None:
    async def both() -> None:
        async with AsyncFireclay() as fc:
            runs = await asyncio.gather(*(fc.run(f"print({n})") for n in range(4)))
            assert [run.stdout for run in runs] == ["0\n", "1\n", "2\n", "3\n"]
            home.stop()
            assert [event.kind async for event in fc.stream("print(1)")] == ["started", "stdout", "settled"]

    asyncio.run(both())


def test_a_key_that_is_said_wins_over_the_token(home: Home) -> None:
    with Fireclay() as owner:
        owner.version()
        key = subprocess.run([home.program, "key", "create", "--role", "admin", "--json"], stdout=subprocess.PIPE, check=True)
        with Fireclay(api_key=json.loads(key.stdout)["key"]) as fc:
            assert fc.run("1").ok
        with Fireclay(api_key="fc_wrong") as fc, pytest.raises(FireclayError, match="unknown, expired or revoked"):
            fc.run("1")
        assert owner.run("1").ok


def test_why_there_is_no_server_is_said(home: Home, tmp_path: Path) -> None:
    (tmp_path / "fireclay").symlink_to("data")
    with Fireclay() as fc, pytest.raises(Unreachable, match="XDG_RUNTIME_DIR"):
        fc.run("1")
    (tmp_path / "fireclay").unlink()


def test_without_a_program_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FIRECLAY_URL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path))
    with pytest.raises(FireclayError, match="set FIRECLAY_URL"):
        Fireclay()

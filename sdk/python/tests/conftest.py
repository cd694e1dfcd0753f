"""A real service for the tests: of FIRECLAY_BINARY, else of what cargo built; or the one at FIRECLAY_TEST_URL."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Iterator, List

import pytest

from fireclay import Fireclay

from .fake_model import model_url

__all__ = ["model_url"]

INDEX = ["pypi.org", "files.pythonhosted.org"]
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a service is."""
    there = os.environ.get("FIRECLAY_TEST_URL")
    if there:
        yield there
        return
    built = REPOSITORY / "target" / "x86_64-unknown-linux-gnu" / "release" / "fireclay"
    binary = os.environ.get("FIRECLAY_BINARY", str(built))
    data = os.environ.get("FIRECLAY_TEST_DATA") or str(tmp_path_factory.mktemp("data"))
    command = [binary, "serve", "--data", data, "--listen", "127.0.0.1:0"]
    # The index may be at an address of this network.
    addresses = {str(found[4][0]) for host in INDEX for found in socket.getaddrinfo(host, 443, socket.AF_INET)}
    command += ["--set", "egress.private=[" + ",".join(f'"{address}/32"' for address in sorted(addresses)) + "]"]
    # Its own words are in the log of a failed test; a pipe that nobody reads would fill.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            for line in service.stdout:
                found = re.search(r"serves (http://\S+)", line)
                if found:
                    yield found[1]
                    break
            else:
                pytest.fail(f"the service ended with {service.wait()}")
        finally:
            service.terminate()


@pytest.fixture
def fc(url: str) -> Iterator[Fireclay]:
    """A client of it."""
    with Fireclay(url) as client:
        yield client


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """Waits that were asked for; none is waited."""
    asked: List[float] = []
    monkeypatch.setattr("time.sleep", asked.append)
    return asked


@pytest.fixture
def python_data(fc: Fireclay) -> None:
    """Says that a test needs the packages of python-data: `fireclay template build python-data`. scripts/test does."""
    fc.run("import numpy", template="python-data").check()

"""Runs every example of README.md, in one process as a reader would, and compares what it prints."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Dict

import pytest

from fireclay import Fireclay

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_examples_print_what_they_say(
    url: str, model_url: str, python_data: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("openai", "langchain_core", "smolagents"):
        pytest.importorskip(package)
    monkeypatch.setenv("FIRECLAY_URL", url)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model_url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(README.read_text("utf-8"))
    examples = [(code, expected) for (kind, code), (_, expected) in zip(blocks, blocks[1:]) if kind == "python"]
    assert len(examples) == 13
    names: Dict[str, Any] = {}
    for number, (code, expected) in enumerate(examples):
        if number == 1:
            # The first closed its client; a reader goes on with an open one.
            names["fc"] = Fireclay()
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, f"README.md example {number + 1}", "exec"), names)
        assert printed.getvalue() == expected, code
    names["fc"].close()
    assert (tmp_path / "out" / "loud.txt").read_text() == "HELLO"
    assert (tmp_path / "plot.png").read_bytes()[1:4] == b"PNG"

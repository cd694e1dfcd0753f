"""Splits a body into lines at line feeds only. httpx splits at U+2028 and others too, which JSON has within strings."""

from __future__ import annotations

from typing import List


class LineReader:
    """Makes lines of chunks."""

    def __init__(self) -> None:
        self._rest: List[bytes] = []

    def feed(self, chunk: bytes) -> List[str]:
        """The lines that this chunk completes, without their ends. What has no end yet is kept."""
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        if not others:
            return []
        complete = [b"".join(self._rest), *others[:-1]]
        self._rest = [others[-1]]
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in complete]

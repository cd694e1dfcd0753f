"""Events of a run as they happen: server-sent events (HTML standard, section 9.2), read line by line."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ._decode import decode
from ._types import Problem, RunResult
from .errors import FireclayError, of_problem


@dataclass(frozen=True)
class Event:
    """One event of a run."""

    id: int
    """Its number in the run, from 1 on."""
    kind: str
    """`started`, `stdout`, `stderr`, `omitted`, `reopened` or `settled`."""
    data: bytes = b""
    """What was written, of `stdout` and `stderr`."""
    stream: Optional[str] = None
    """Of `omitted`: the stream of which the events lack something. The result has head and tail."""
    result: Optional[RunResult] = None
    """Of `settled`: the result."""
    reopened: Optional[Dict[str, Any]] = None
    """Of `reopened`: `at`, `from_node` and `files_of`. The session was reopened on another node: files of then, nothing that was in memory."""

    @property
    def text(self) -> str:
        """What was written, as text; bytes that are not UTF-8 are replaced."""
        return self.data.decode("utf-8", "replace")


class EventReader:
    """Makes events of lines."""

    def __init__(self) -> None:
        self._id = ""
        self._kind = ""
        self._data: List[str] = []

    def line(self, line: str) -> Optional[Event]:
        """Takes a line without its end; an empty one ends an event. A problem is raised."""
        if line:
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "data":
                self._data.append(value)
            elif name == "event":
                self._kind = value
            elif name == "id":
                self._id = value
            # Anything else is a comment that keeps the connection.
            return None
        kind, data = self._kind, "\n".join(self._data)
        self._kind, self._data = "", []
        return event_of(self._id, kind, json.loads(data)) if data else None


def event_of(number: str, kind: str, data: Any) -> Event:
    """An event of its fields. Raises the problem that the end of a stream may be."""
    if kind == "problem":
        raise of_problem(decode(Problem, data))
    if not number.isdigit() or not isinstance(data, dict):
        raise FireclayError(f"the service sent an event that cannot be read: {kind!r}")
    seq = int(number)
    if kind == "settled":
        return Event(seq, kind, result=decode(RunResult, data))
    if kind in ("stdout", "stderr"):
        if "base64" in data:
            return Event(seq, kind, base64.b64decode(data["base64"]))
        return Event(seq, kind, str(data.get("text", "")).encode("utf-8", "surrogatepass"))
    if kind == "reopened":
        return Event(seq, kind, reopened=data)
    return Event(seq, kind, stream=data.get("stream"))

"""Puts requests together. Pure: what is wrong with a request is for the service to say, in one place and for every client."""

from __future__ import annotations

import base64
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, TypedDict, Union

from ._types import (
    Background,
    Egress,
    GradingSaid,
    InputFile,
    Language,
    LimitsPatch,
    Priority,
    RunRequest,
    TaskBudgetSaid,
)

if TYPE_CHECKING:
    # Type checkers bring it; nothing evaluates it.
    from typing_extensions import Unpack

FileContent = Union[str, bytes, "os.PathLike[str]"]
"""A file's content: text, bytes, or the path of a file of this machine to read it from."""

Files = Union[Mapping[str, FileContent], Sequence[InputFile]]
"""Files by their path in the workspace; or as the API has them."""


class BatchRun(RunRequest, total=False):
    """A run of a batch."""

    id: str
    """The caller's own name for it, returned with the answer."""


class BatchGrading(GradingSaid, total=False):
    """A graded program of a batch, or a group of them."""

    id: str
    """The caller's own name for it, returned with the answer."""


BatchItem = Union[BatchRun, BatchGrading]
"""One item of a batch: docs/batches.md has all kinds."""


class _AnyRunOptions(TypedDict, total=False):
    stdin: Optional[str]
    """What it reads on standard input."""
    args: Sequence[str]
    """Its arguments."""
    env: Mapping[str, str]
    """Environment variables, on top of the sandbox's own."""
    files: Optional[Files]
    """Files put into the workspace first."""
    limits: LimitsPatch
    """How much it may use: `{"timeout_ms": 500, "memory_bytes": 64 << 20}`."""
    metadata: Mapping[str, str]
    """The caller's own labels, returned unchanged."""
    file_name: Optional[str]
    """What the program's own file is called; tracebacks show it."""
    cwd: Optional[str]
    """Working directory, relative to the workspace."""


class RunOptions(_AnyRunOptions, total=False):
    """What a run may have besides its code and language."""

    template: Optional[str]
    """What its sandbox is made from: `python-data` has numpy, pandas and matplotlib."""
    packages: Sequence[str]
    """Packages that its Python has, as `pandas>=2`: installed once, then kept."""
    auto_packages: bool
    """Whether packages are found by what it imports."""
    offline: bool
    """Whether only packages that are installed already may be used."""
    python: Optional[str]
    """The version of Python that runs it, as `3.13`; the image's if none is named."""
    egress: Optional[Egress]
    """Which hosts it may reach: `{"allow": ["api.github.com"]}`."""


class SessionRunOptions(_AnyRunOptions, total=False):
    """What a run of a session may have besides its code and language.

    In the interpreter that keeps its state, `limits` may name `timeout_ms` and `output_bytes` only, and there are no `args`.
    """

    fresh: bool
    """Whether it is a program of its own, beside others, with the same files. Then `cwd="private"` is an empty directory of its own."""


class SessionRun(RunRequest, total=False):
    """A run of a session."""

    fresh: bool
    """Whether it is a program of its own."""


Duration = Union[int, float, timedelta]
"""How long: seconds, or a `timedelta`."""


class SessionOptions(TypedDict, total=False):
    """What a session may have; all may be left out."""

    template: Optional[str]
    """What its sandbox is made from; `python` if none is named."""
    language: Optional[Language]
    """The language of runs that name none; the template's if none is named. Every language runs in it."""
    name: str
    """What to call it."""
    limits: LimitsPatch
    """How much it may use. `timeout_ms` and `output_bytes` are what its runs have that say nothing else."""
    env: Mapping[str, str]
    """Environment variables of all that runs in it."""
    background: Background
    """What becomes of what runs left behind while none is on: it stands still until the next (`frozen`), shares a twentieth of a processor
    (`slow`), or goes on (`running`)."""
    packages: Sequence[str]
    """Packages that its Python has, as `pandas>=2`."""
    offline: bool
    """Whether only packages that are installed already may be used."""
    python: Optional[str]
    """The version of its Python, as `3.13`; the image's if none is named."""
    egress: Optional[Egress]
    """Which hosts what runs in it may reach: `{"allow": ["api.github.com"]}`."""
    ports: bool
    """Whether what listens on its loopback may be visited: see `port_url`."""
    priority: Priority
    """Which of the tenant's runs that wait for a place its own come before."""
    idle_ttl: Optional[Duration]
    """How long it stays when nothing runs, at most 24 hours."""
    ttl: Optional[Duration]
    """How long it stays at most."""


class TaskOptions(TypedDict, total=False):
    """What a task may have; all may be left out."""

    instructions: Optional[str]
    """Instructions of your own for the model, beside those of the service."""
    language: Optional[Language]
    """The language of code that names none; Python if none is named."""
    template: Optional[str]
    """What its session is made from; by the language if none is named."""
    session: Optional[str]
    """A session of yours that code runs in. It stays when the task goes."""
    files: Optional[Files]
    """Files that the session begins with."""
    limits: LimitsPatch
    """How much the session may use, and each of its runs."""
    budget: TaskBudgetSaid
    """How much the question may use."""
    review: bool
    """Whether a language model reads code before it runs."""
    ask: bool
    """Whether each run waits for a person: see `approve` and `deny`."""


def run_request(code: str, language: Optional[Language] = None, **options: Unpack[RunOptions]) -> BatchRun:
    """A run as the API has it; also an item of a batch. The language is by `file_name` or by the code's first line, else Python."""
    if language is None and options.get("file_name") is None and not code.startswith("#!"):
        language = "python"
    request: Any = {"code": code, **_said({**options, "language": language, "files": input_files(options.get("files"))})}
    return request  # type: ignore[no-any-return]


def session_run_request(code: str, language: Optional[Language] = None, **options: Unpack[SessionRunOptions]) -> SessionRun:
    """A run of a session as the API has it. The language is by `file_name`, else the session's."""
    request: Any = {"code": code, **_said({**options, "language": language, "files": input_files(options.get("files"))})}
    return request  # type: ignore[no-any-return]


def session_request(**options: Unpack[SessionOptions]) -> Dict[str, Any]:
    """A session as the API has it."""
    said: Dict[str, Any] = dict(options)
    stay = times(said.pop("idle_ttl", None), said.pop("ttl", None))
    return _said({**said, **stay})


def task_request(question: str, *, wait: bool, **options: Unpack[TaskOptions]) -> Dict[str, Any]:
    """A task as the API has it."""
    return {"question": question, "wait": wait, **_said({**options, "files": input_files(options.get("files"))})}


def times(idle_ttl: Optional[Duration], ttl: Optional[Duration]) -> Dict[str, int]:
    """How long a session stays, as the API has it."""
    return _said({"idle_ttl_ms": _ms(idle_ttl), "ttl_ms": _ms(ttl)})


def _ms(duration: Optional[Duration]) -> Optional[int]:
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    return None if seconds is None else round(seconds * 1000)


def _said(fields: Mapping[str, Any]) -> Dict[str, Any]:
    """Without what is not said, which is the service's to choose."""
    return {key: value for key, value in fields.items() if value not in (None, [], (), {})}


def input_files(files: Optional[Files]) -> List[InputFile]:
    """Files as the API has them. Reads those that are named by a path."""
    if files is None:
        return []
    if isinstance(files, Mapping):
        return [_input_file(path, content) for path, content in files.items()]
    return list(files)


def _input_file(path: str, content: FileContent) -> InputFile:
    if isinstance(content, os.PathLike):
        content = Path(content).read_bytes()
    if isinstance(content, str):
        return {"path": path, "text": content}
    return {"path": path, "base64": base64.b64encode(content).decode("ascii")}


def to_json(value: Any) -> bytes:
    """JSON in UTF-8. What cannot be UTF-8, half a surrogate pair, is escaped for the service to refuse."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def to_lines(items: Iterable[BatchItem]) -> bytes:
    """One item in each line (NDJSON)."""
    return b"".join(to_json(item) + b"\n" for item in items)

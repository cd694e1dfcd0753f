"""Puts requests together. Pure: what is wrong with a request is for the service to say, in one place and for every client."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, TypedDict, Union

from ._types import GradingSaid, InputFile, Language, LimitsPatch, RunRequest

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


class RunOptions(TypedDict, total=False):
    """What a run may have besides its code and language."""

    template: Optional[str]
    """What its sandbox is made from: `python-data` has numpy, pandas and matplotlib."""
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


def run_request(code: str, language: Optional[Language] = None, **options: Unpack[RunOptions]) -> BatchRun:
    """A run as the API has it; also an item of a batch. The language is by `file_name` or by the code's first line, else Python."""
    if language is None and options.get("file_name") is None and not code.startswith("#!"):
        language = "python"
    said: Dict[str, Any] = {**options, "code": code, "language": language, "files": input_files(options.get("files"))}
    # What is not said is the service's to choose.
    request: Any = {key: value for key, value in said.items() if key == "code" or value not in (None, [], (), {})}
    return request  # type: ignore[no-any-return]


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

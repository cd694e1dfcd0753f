"""Flame's client (github.com/xflops/flame, flamepy 0.3) for its application `flmexec`, over a service of fireclay.

    from fireclay.compat import flame as flamepy      # was: import flamepy

    session = await flamepy.create_session("flmexec")
    task = await session.invoke(json.dumps({"language": "python", "code": "print(1 + 1)"}).encode())
    task.output                                        # b"2\\n"

Each `invoke` is a run of its own: a fresh process in its own empty directory, and not of a session of fireclay's, whose runs have `/tmp`,
memory and disk in common. As with Flame, the output is standard output's bytes, and a program that exits with another code than 0 is a
task that succeeded. What Flame leaves to chance has an end here: a run that hits a limit is a task that failed, and a program that reads
standard input without one finds it empty, where Flame's waits for ever.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
import uuid
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

from .. import AsyncFireclay, FireclayError, Language, LimitsPatch, RunOptions, Unreachable

# Flame has no limits of these; the service clamps them to its ceiling.
_NO_LIMIT: LimitsPatch = {"timeout_ms": 1 << 40, "output_bytes": 1 << 40}
_SHELLS = {"bash", "/bin/bash", "/usr/bin/bash"}
# Inline metadata that asks for packages (PEP 723).
_PACKAGES = re.compile(r"^# /// script$.*?^# dependencies\s*=\s*\[\s*(?:#\s*)?[\"'].*?^# ///$", re.MULTILINE | re.DOTALL)


class FlameErrorCode(IntEnum):
    """Flame's kinds of errors."""

    INVALID_CONFIG = 0
    INVALID_STATE = 1
    INVALID_ARGUMENT = 2
    INTERNAL = 3
    ALREADY_EXISTS = 4
    NOT_FOUND = 5


class FlameError(FireclayError):
    """An error as Flame's client raises it."""

    def __init__(self, code: FlameErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TaskState(IntEnum):
    """Where a task is."""

    PENDING = 0
    RUNNING = 1
    SUCCEED = 2
    FAILED = 3


@dataclass(frozen=True)
class Task:
    """What came of one `invoke`."""

    id: str
    session_id: str
    state: TaskState
    input: bytes
    output: bytes
    run_id: str
    """The run, for all that Flame does not tell: exit code, standard error, usage."""

    def is_completed(self) -> bool:
        """Whether it has ended."""
        return self.state in (TaskState.SUCCEED, TaskState.FAILED)


async def create_session(
    application: str,
    common_data: Optional[bytes] = None,
    *,
    slots: int = 1,
    max_instances: Optional[int] = None,
    client: Optional[AsyncFireclay] = None,
) -> Session:
    """Opens a session of `flmexec`. `max_instances` is how many of its tasks run at once; `slots` and `common_data` mean nothing to it."""
    if application != "flmexec":
        raise FlameError(FlameErrorCode.NOT_FOUND, f"application {application!r} not found: this service has flmexec")
    if max_instances is not None and max_instances < 1:
        raise FlameError(FlameErrorCode.INVALID_ARGUMENT, "max_instances is at least 1")
    ours = client or AsyncFireclay()
    try:
        await ours.version()
    except Unreachable as error:
        if client is None:
            await ours.aclose()
        raise FlameError(FlameErrorCode.INTERNAL, str(error)) from error
    return Session(ours, application, common_data, max_instances, owned=client is None)


class Session:
    """Runs programs until it is closed. Its tasks share nothing."""

    def __init__(self, client: AsyncFireclay, application: str, data: Optional[bytes], most: Optional[int], owned: bool) -> None:
        self.id = f"{application}-{uuid.uuid4().hex[:6]}"
        self.application = application
        self.creation_time = time.time()
        self._client = client
        self._common_data = data
        self._owned = owned
        self._turn = asyncio.Semaphore(most) if most is not None else None
        self._tasks = 0
        self._open = True

    def common_data(self) -> Optional[bytes]:
        """What the session was created with."""
        return self._common_data

    async def invoke(self, input: bytes) -> Task:
        """Runs what the JSON in `input` says: `language` (python or shell), `code`, and `input`, a list of byte values to read.

        Raises `FlameError` for what cannot be run, and for a program that hits a limit.
        """
        if not self._open:
            raise FlameError(FlameErrorCode.INVALID_STATE, f"session {self.id} is closed, not open")
        script = _Script.read(input)
        self._tasks += 1
        number = str(self._tasks)
        if self._turn is None:
            return await self._run(number, script, input)
        async with self._turn:
            return await self._run(number, script, input)

    async def close(self) -> None:
        """Closes the session; tasks on their way end as they would."""
        self._open = False
        if self._owned:
            await self._client.aclose()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def _run(self, number: str, script: _Script, said: bytes) -> Task:
        labels = {"api": "flame", "flame_session": self.id, "flame_task": number}
        written: List[bytes] = []
        whole = True
        options: RunOptions = {**script.options, "limits": _NO_LIMIT, "metadata": labels}
        async with self._client.stream(script.code, script.language, **options) as events:
            async for event in events:
                if event.kind == "stdout":
                    written.append(event.data)
                whole = whole and not (event.kind == "omitted" and event.stream == "stdout")
            run = events.result
        if run.outcome not in ("completed", "failed", "signalled"):
            raise FlameError(FlameErrorCode.INTERNAL, f"task {number} of {self.id} ended: {run.outcome} ({run.id})")
        if not whole:
            raise FlameError(FlameErrorCode.INTERNAL, f"task {number} of {self.id} wrote more than is kept ({run.id})")
        return Task(number, self.id, TaskState.SUCCEED, said, b"".join(written), run.id)


@dataclass(frozen=True)
class _Script:
    code: str
    language: Language
    options: RunOptions

    @classmethod
    def read(cls, payload: bytes) -> _Script:
        """Reads a payload of flmexec."""
        try:
            said: Any = json.loads(payload)
            code, language = said["code"], said["language"].lower()
            stdin = None if said.get("input") is None else bytes(said["input"])
            if not isinstance(code, str):
                raise TypeError("`code` is not a string")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"not a request of flmexec: {error!r}") from error
        if language not in ("python", "shell"):
            raise FlameError(FlameErrorCode.INVALID_ARGUMENT, f"unsupported language: {said['language']}")
        runtime = said.get("runtime")
        if runtime is not None and not (language == "shell" and runtime in _SHELLS):
            raise FlameError(FlameErrorCode.INVALID_CONFIG, f"no runtime {runtime!r}: the service has one Python, and bash")
        if _PACKAGES.search(code):
            raise FlameError(
                FlameErrorCode.INVALID_CONFIG, "the script asks for packages, which this service does not install for it"
            )
        return cls._with_input(code, "python" if language == "python" else "bash", stdin)

    @classmethod
    def _with_input(cls, code: str, language: Language, stdin: Optional[bytes]) -> _Script:
        name = "main.py" if language == "python" else "main.sh"
        try:
            return cls(code, language, {"file_name": name, "stdin": (stdin or b"").decode("utf-8")})
        except UnicodeDecodeError:
            # The API's standard input is text. A shell makes bytes of a file, which is gone before the program starts.
            program = "python3" if language == "python" else "bash"
            files: List[Dict[str, str]] = [
                {"path": name, "text": code},
                {"path": ".stdin", "base64": base64.b64encode(stdin or b"").decode("ascii")},
            ]
            start = f"exec 0< .stdin; rm .stdin .start.sh; exec {program} {name}"
            return cls(start, "bash", {"file_name": ".start.sh", "files": files})  # type: ignore[typeddict-item]

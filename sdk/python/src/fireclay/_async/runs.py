"""Runs: one program, once, in a fresh sandbox."""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Any, AsyncIterator, Dict, List, Optional, Union

from .._decode import decode
from .._paths import inside, one_part, parts_of
from .._policy import wait_before_retry
from .._types import RunList, RunRequest, RunResult, RunSummary
from ..errors import RunFaulted
from .stream import AsyncRunStream
from .transport import AsyncTransport


class AsyncRuns:
    """`/v1/runs`."""

    def __init__(self, transport: AsyncTransport, submit_at: str = "/v1/runs") -> None:
        self._transport = transport
        self._submit_at = submit_at

    async def run(self, request: RunRequest, idempotency_key: Optional[str] = None) -> RunResult:
        """Submits a run and waits until it is settled. Raises `RunFaulted` for a fault that stays after all retries that are safe."""
        attempt = 0
        while True:
            # A fault is an answer too: with the same key it would be told again.
            key = idempotency_key or uuid.uuid4().hex
            headers = {"idempotency-key": key}
            result = await self._transport.ask(RunResult, "POST", self._submit_at, json=request, headers=headers)
            if result.fault is None:
                return result
            hopeless = idempotency_key is not None or not result.fault.retry_safe
            wait = wait_before_retry(RunFaulted(result), attempt, repeatable=not hopeless)
            if wait is None or attempt >= self._transport.settings.retries:
                raise RunFaulted(result)
            attempt += 1
            await asyncio.sleep(wait)

    async def submit(self, request: RunRequest, idempotency_key: Optional[str] = None) -> RunSummary:
        """Submits a run and returns as soon as it is recorded."""
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        body = {**request, "wait": False}
        return await self._transport.ask(RunSummary, "POST", self._submit_at, json=body, headers=headers)

    def stream(self, request: RunRequest, idempotency_key: Optional[str] = None) -> AsyncRunStream:
        """Submits a run when the first event is asked for."""
        return AsyncRunStream(self._transport, None, request, idempotency_key or uuid.uuid4().hex, 0, self._submit_at)

    def follow(self, run_id: str, after: int = 0) -> AsyncRunStream:
        """Events of a run, those after the one numbered `after`, whether it is on its way or settled."""
        return AsyncRunStream(self._transport, run_id, None, "", after)

    async def wait(self, run_id: str) -> RunResult:
        """The result of a run, once it is settled."""
        async with self.follow(run_id) as stream:
            return await stream.until_done()

    async def get(self, run_id: str) -> Union[RunResult, RunSummary]:
        """A run: its result once it is settled, a summary before."""
        response = await self._transport.send("GET", f"/v1/runs/{one_part(run_id)}")
        status = response.status_code
        await self._transport.read(response)
        return decode(RunSummary, response.json()) if status == 202 else decode(RunResult, response.json())

    async def list(self, **filters: Any) -> AsyncIterator[RunSummary]:
        """Runs, newest first, fetched page by page. Filters are those of `GET /v1/runs`: `outcome="failed"`, `text=...`, `since=...`."""
        cursor: Optional[str] = None
        while True:
            page = await self._transport.ask(RunList, "GET", "/v1/runs", params={**filters, "cursor": cursor})
            for run in page.items:
                yield run
            cursor = page.next
            if cursor is None:
                return

    async def cancel(self, run_id: str) -> Union[RunResult, RunSummary]:
        """Takes back a run that is on its way: it settles as `cancelled`. A settled one is left as it is, and returned."""
        response = await self._transport.send("POST", f"/v1/runs/{one_part(run_id)}/cancel")
        status = response.status_code
        await self._transport.read(response)
        return decode(RunSummary, response.json()) if status == 202 else decode(RunResult, response.json())

    async def remove(self, run_id: str) -> None:
        """Takes back a run that is on its way, or forgets a settled one with its events and artifacts."""
        # Never sent twice: the first takes the run back, a second would forget it.
        response = await self._transport.send("DELETE", f"/v1/runs/{one_part(run_id)}")
        await self._transport.read(response)

    async def artifact(self, run: Union[RunResult, str], path: str) -> bytes:
        """The content of a file that a run left behind."""
        run_id = run if isinstance(run, str) else run.id
        response = await self._transport.send("GET", f"/v1/runs/{one_part(run_id)}/artifacts/{parts_of(path)}")
        return await self._transport.read(response)

    async def save_artifacts(self, run: RunResult, directory: Union[str, "os.PathLike[str]"]) -> List[Path]:
        """Writes all files that a run left behind under a directory, which is made if need be, and returns their paths.

        Names come from the run: one that would lie outside the directory is an error, and nothing is written for it.
        """
        root = Path(directory)
        targets: Dict[str, Path] = {artifact.path: inside(root, artifact.path) for artifact in run.artifacts}
        for path, target in targets.items():
            content = await self.artifact(run, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return [targets[path] for path in targets]

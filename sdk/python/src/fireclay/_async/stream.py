"""Follows a run as it happens, and takes up the thread where a connection breaks."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, AsyncIterator, Dict, Optional, Type

import httpx

from .._events import Event, EventReader
from .._lines import LineReader
from .._policy import unreachable, wait_before_retry
from .._types import RunResult
from ..errors import FireclayError, RunFaulted, Unreachable
from .transport import AsyncTransport

_EVENTS = {"accept": "text/event-stream"}


class AsyncRunStream:
    """Events of one run, in order, each once. Ends after `settled`; `result` is there then.

    Leaving it early closes the connection and leaves the run on its way: `runs.remove(stream.run_id)` takes it back.
    """

    def __init__(
        self, transport: AsyncTransport, run_id: Optional[str], request: Any, key: str, after: int, submit_at: str = "/v1/runs"
    ) -> None:
        self._transport = transport
        self._request = request
        self._key = key
        self._submit_at = submit_at
        self._seen = after
        self._response: Optional[httpx.Response] = None
        self._events = self._follow()
        self._result: Optional[RunResult] = None
        self.run_id = run_id
        """The run; None before the service has answered."""

    @property
    def result(self) -> RunResult:
        """The result, once the stream has ended. Raises `RunFaulted` when the service failed at the run."""
        if self._result is None:
            raise FireclayError("the run is not settled: read its events to their end, or call until_done()")
        if self._result.fault is not None:
            raise RunFaulted(self._result)
        return self._result

    async def until_done(self) -> RunResult:
        """Reads the events that are left and returns the result."""
        async for _ in self:
            pass
        return self.result

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._events.aclose()  # type: ignore[attr-defined]
        await self._disconnect()

    async def __aenter__(self) -> AsyncRunStream:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self._events.__anext__()

    async def _follow(self) -> AsyncIterator[Event]:
        attempt = 0
        while self._result is None:
            try:
                async for event in self._connection():
                    attempt = 0
                    yield event
            except Unreachable as error:
                wait = wait_before_retry(error, attempt, repeatable=True)
                if wait is None or attempt >= self._transport.settings.retries:
                    raise
                attempt += 1
                await asyncio.sleep(wait)
            finally:
                await self._disconnect()

    async def _connection(self) -> AsyncIterator[Event]:
        """What one connection tells. Raises `Unreachable` when it ends before the run does."""
        response = self._response = await self._connect()
        self.run_id = self.run_id or response.headers.get("location", "").rpartition("/")[2] or None
        try:
            async for event in _events_of(response):
                # A run that is submitted again with its key is told from its beginning.
                if event.id <= self._seen:
                    continue
                self._seen = event.id
                if event.kind == "settled":
                    self._result = event.result
                yield event
        except httpx.TransportError as error:
            raise unreachable(self._transport.settings, error) from error
        if self._result is None:
            raise Unreachable("the stream of events ended before the run did")

    async def _connect(self) -> httpx.Response:
        if self.run_id is None:
            headers: Dict[str, str] = {**_EVENTS, "idempotency-key": self._key}
            return await self._transport.send("POST", self._submit_at, json=self._request, headers=headers)
        headers = {**_EVENTS, "last-event-id": str(self._seen)}
        return await self._transport.send("GET", f"/v1/runs/{self.run_id}/events", headers=headers)

    async def _disconnect(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()


async def _events_of(response: httpx.Response) -> AsyncIterator[Event]:
    lines, reader = LineReader(), EventReader()
    async for chunk in response.aiter_bytes():
        for line in lines.feed(chunk):
            event = reader.line(line)
            if event is not None:
                yield event

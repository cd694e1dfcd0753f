"""Batches: many runs, graded programs and samples in one request. docs/batches.md has all kinds of items."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, AsyncIterator, Iterable, Mapping, Optional, Type

import httpx

from .._decode import decode
from .._lines import LineReader
from .._policy import unreachable
from .._request import BatchItem, to_lines
from .._types import Answer, BatchList, BatchSummary, Summary
from ..errors import FireclayError, Unreachable
from .transport import AsyncTransport


class AsyncBatchStream:
    """Answers of one batch, in the order in which they are done; `summary` is there at the end.

    Leaving it early takes the batch back. A connection that breaks does too, so nothing is sent again by itself.
    """

    def __init__(self, transport: AsyncTransport, items: Iterable[BatchItem], params: Mapping[str, Any]) -> None:
        self._transport = transport
        self._items = items
        self._params = params
        self._response: Optional[httpx.Response] = None
        self._answers = self._read()
        self.batch_id: Optional[str] = None
        """The batch; None before the service has answered."""
        self.summary: Optional[Summary] = None
        """What it came to, once all answers are read."""

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._answers.aclose()  # type: ignore[attr-defined]
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()

    async def __aenter__(self) -> AsyncBatchStream:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Answer]:
        return self

    async def __anext__(self) -> Answer:
        return await self._answers.__anext__()

    async def _read(self) -> AsyncIterator[Answer]:
        body, lines = to_lines(self._items), LineReader()
        self._response = await self._transport.send("POST", "/v1/batches", params=self._params, lines=body)
        try:
            async for chunk in self._response.aiter_bytes():
                for line in lines.feed(chunk):
                    answer = self._take(line)
                    if answer is not None:
                        yield answer
        except httpx.TransportError as error:
            raise unreachable(self._transport.settings, error) from error
        finally:
            await self._response.aclose()
        if self.summary is None:
            raise Unreachable(f"the answers of {self.batch_id or 'the batch'} broke off")

    def _take(self, line: str) -> Optional[Answer]:
        if not line:
            return None
        said = json.loads(line)
        if "index" in said:
            return decode(Answer, said)
        self.batch_id = said.get("batch", self.batch_id)
        if "summary" in said:
            self.summary = decode(Summary, said["summary"])
        elif "batch" not in said:
            raise FireclayError(f"the service sent a line that cannot be read: {line[:200]}")
        return None


class AsyncBatches:
    """`/v1/batches`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def run(
        self, items: Iterable[BatchItem], *, concurrency: Optional[int] = None, dedupe: Optional[bool] = None
    ) -> AsyncBatchStream:
        """Submits a batch when the first answer is asked for, and has the answers as they are done."""
        return AsyncBatchStream(self._transport, items, {"concurrency": concurrency, "dedupe": dedupe})

    async def submit(
        self,
        items: Iterable[BatchItem],
        *,
        concurrency: Optional[int] = None,
        dedupe: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
    ) -> BatchSummary:
        """Submits a batch and returns when all of it is recorded; it goes on without the caller. `answers` reads what came of it."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        params = {"wait": False, "concurrency": concurrency, "dedupe": dedupe}
        return await self._transport.ask(BatchSummary, "POST", "/v1/batches", params=params, lines=to_lines(items), headers=headers)

    async def get(self, batch_id: str) -> BatchSummary:
        """How far a batch is, and what it came to."""
        return await self._transport.ask(BatchSummary, "GET", f"/v1/batches/{batch_id}")

    async def list(self) -> AsyncIterator[BatchSummary]:
        """Batches, newest first, fetched page by page."""
        cursor: Optional[str] = None
        while True:
            page = await self._transport.ask(BatchList, "GET", "/v1/batches", params={"cursor": cursor})
            for batch in page.items:
                yield batch
            cursor = page.next
            if cursor is None:
                return

    async def cancel(self, batch_id: str) -> BatchSummary:
        """Takes back a batch that is on its way."""
        return await self._transport.ask(BatchSummary, "DELETE", f"/v1/batches/{batch_id}")

    async def answers(self, batch_id: str, after: Optional[int] = None) -> AsyncIterator[Answer]:
        """The answers of a batch that are there, in the order of its items, those after the index `after`."""
        while True:
            response = await self._transport.send("GET", f"/v1/batches/{batch_id}/items", params={"after": after})
            body = await self._transport.read(response)
            lines = LineReader().feed(body)
            if not lines:
                return
            for line in lines:
                answer = decode(Answer, json.loads(line))
                after = answer.index
                yield answer

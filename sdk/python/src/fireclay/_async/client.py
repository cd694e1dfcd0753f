"""The client: what one asks of a service, in a word each."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, AsyncIterator, Dict, Iterable, Optional, Type

import httpx

from .._policy import settings
from .._request import BatchItem, BatchRun, RunOptions, SessionOptions, run_request
from .._types import Answer, Language, LimitsInForce, RunResult, Version
from ..errors import FireclayError, RunFaulted, of_problem
from .batches import AsyncBatches, AsyncBatchStream
from .runs import AsyncRuns
from .sessions import AsyncSession, AsyncSessions
from .stream import AsyncRunStream
from .tasks import AsyncTasks
from .tools import AsyncTools
from .transport import AsyncTransport

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncFireclay:
    """A service that runs code.

    `url` and `api_key` are FIRECLAY_URL's and FIRECLAY_API_KEY's unless said; without any address it is this user's local server, which the
    first request starts if there is none. `timeout` is how many seconds the service may say nothing,
    so longer than a run may take; `retries` how often a request is sent again where that is safe. `http_client` brings your own httpx
    client (proxies, certificates, tests), which is then yours to close. May be shared between threads, or tasks.
    """

    def __init__(
        self,
        url: Optional[str] = None,
        api_key: Optional[str] = None,
        *,
        timeout: float = 600.0,
        retries: int = 3,
        http_client: Optional[httpx.AsyncClient] = None,
    ) -> None:
        self._transport = AsyncTransport(settings(url, api_key, timeout, retries), http_client)
        self.runs = AsyncRuns(self._transport)
        """Runs: submit, list, look at, take back, forget; their files."""
        self.sessions = AsyncSessions(self._transport)
        """Sessions: open, list, look at, close, come back to."""
        self.batches = AsyncBatches(self._transport)
        """Batches that go on without the caller."""
        self.tasks = AsyncTasks(self._transport)
        """Tasks: questions that the service's model works on with programs."""
        self.tools = AsyncTools(self.runs)
        """Definitions for models that call functions, and what answers their calls."""

    @property
    def url(self) -> str:
        """Where the service is. Of the local server that is not there yet, waits for its start."""
        return self._transport.url

    async def run(
        self,
        code: str,
        language: Optional[Language] = None,
        *,
        idempotency_key: Optional[str] = None,
        **options: Unpack[RunOptions],
    ) -> RunResult:
        """Runs code in a fresh sandbox, and returns when it is settled.

        What the code does is in the result: it is no error here when it fails (`run(...).check()` makes it one). `RunOptions` has
        the options.
        """
        return await self.runs.run(run_request(code, language, **options), idempotency_key)

    def stream(
        self,
        code: str,
        language: Optional[Language] = None,
        *,
        idempotency_key: Optional[str] = None,
        **options: Unpack[RunOptions],
    ) -> AsyncRunStream:
        """Runs code and has its events as they happen. A connection that breaks is taken up again where it broke."""
        return self.runs.stream(run_request(code, language, **options), idempotency_key)

    @asynccontextmanager
    async def session(self, **options: Unpack[SessionOptions]) -> AsyncIterator[AsyncSession]:
        """A sandbox that stays: what code leaves in memory and in files, the next code finds. Closed at the end of the block.

        `SessionOptions` has the options. `sessions.create` opens one that stays open until it is closed, or its time is over.
        """
        async with await self.sessions.create(**options) as session:
            yield session

    def run_batch(
        self, items: Iterable[BatchItem], *, concurrency: Optional[int] = None, dedupe: Optional[bool] = None
    ) -> AsyncBatchStream:
        """Runs and grades many programs, and has their answers as they are done. docs/batches.md has all kinds of items."""
        return self.batches.run(items, concurrency=concurrency, dedupe=dedupe)

    async def map(
        self,
        code: str,
        inputs: Iterable[str],
        language: Optional[Language] = None,
        *,
        concurrency: Optional[int] = None,
        **options: Unpack[RunOptions],
    ) -> AsyncIterator[RunResult]:
        """Runs one program once for each input, which it reads on standard input; has the results in the order of the inputs.

        Raises for the first that the service failed at or refused, and takes the others back.
        """
        base = run_request(code, language, **options)
        items = (BatchRun({**base, "stdin": text}) for text in inputs)
        done: Dict[int, RunResult] = {}
        following = 0
        async with self.batches.run(items, concurrency=concurrency) as answers:
            async for answer in answers:
                done[answer.index] = _result_of(answer)
                while following in done:
                    yield done.pop(following)
                    following += 1

    async def limits(self) -> LimitsInForce:
        """The limits of runs that name none, and the most that they may name."""
        return await self._transport.ask(LimitsInForce, "GET", "/v1/limits")

    async def version(self) -> Version:
        """Which fireclay this is, and which image runs see."""
        return await self._transport.ask(Version, "GET", "/version")

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> AsyncFireclay:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.aclose()


def _result_of(answer: Answer) -> RunResult:
    """The result that an answer of a plain run has, or its error."""
    if answer.problem is not None:
        raise of_problem(answer.problem)
    if answer.run is None:
        said = answer.fault.message if answer.fault is not None else answer.verdict
        raise FireclayError(f"item {answer.index}: {said}")
    if answer.run.fault is not None:
        raise RunFaulted(answer.run)
    return answer.run

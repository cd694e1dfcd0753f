# Made from _async/sessions.py by scripts/generate.py: change it there.
"""Sessions: sandboxes that stay, with interpreters that keep their state."""

from __future__ import annotations

import uuid
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Iterator, Deque, Iterable, Optional, Type, Union

from .._paths import one_part
from .._request import Duration, SessionOptions, SessionRun, SessionRunOptions, session_request, session_run_request, times
from .._types import Language, PortLink, RunResult, RunSummary, SessionList, SessionState, SessionView
from ..errors import Conflict, FireclayError
from .files import SessionFiles
from .runs import Runs
from .stream import RunStream
from .tools import Tools
from .transport import Transport

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Session:
    """One session. As a context manager it is closed at the end of the block, with all that runs in it.

    Runs are done in order, by an interpreter for each language: variables, imports and the working directory stay. `fresh=True` runs a
    program of its own beside them, with the same files.
    """

    def __init__(self, transport: Transport, view: SessionView) -> None:
        self._transport = transport
        self._path = f"/v1/sessions/{one_part(view.id)}"
        self._runs = Runs(transport, f"{self._path}/runs")
        self.id = view.id
        """What `sessions.open` finds it by."""
        self.view = view
        """What the service last told of it; `look()` asks anew."""
        self.files = SessionFiles(transport, self._path)
        """Its workspace."""
        self.tools = Tools(self._runs, in_session=True)
        """Definitions for models that call functions, and what answers their calls: by this session, which keeps state between them."""

    def run(
        self,
        code: str,
        language: Optional[Language] = None,
        *,
        idempotency_key: Optional[str] = None,
        **options: Unpack[SessionRunOptions],
    ) -> RunResult:
        """Runs code, and returns when it is settled. `SessionRunOptions` has the options.

        One that takes too long is interrupted, and killed only if that does not help: then `state_lost` says so. Raises `RunFaulted`
        when the service fails at it, and `Conflict` when the session has ended.
        """
        # With a key of ours a fault is final: what the first try did to the session, a second would do again.
        return self._runs.run(session_run_request(code, language, **options), idempotency_key or uuid.uuid4().hex)

    def stream(
        self,
        code: str,
        language: Optional[Language] = None,
        *,
        idempotency_key: Optional[str] = None,
        **options: Unpack[SessionRunOptions],
    ) -> RunStream:
        """Runs code and has its events as they happen. A connection that breaks is taken up again where it broke."""
        return self._runs.stream(session_run_request(code, language, **options), idempotency_key)

    def submit(
        self,
        code: str,
        language: Optional[Language] = None,
        *,
        idempotency_key: Optional[str] = None,
        **options: Unpack[SessionRunOptions],
    ) -> RunSummary:
        """Has code run without waiting for it: `runs.wait` does, with the run's id."""
        return self._runs.submit(session_run_request(code, language, **options), idempotency_key)

    def map(
        self,
        code: str,
        inputs: Iterable[str],
        language: Optional[Language] = None,
        *,
        concurrency: int = 16,
        **options: Unpack[SessionRunOptions],
    ) -> Iterator[RunResult]:
        """Runs one program once for each input, which it reads on standard input; has the results in the order of the inputs.

        Each is a fresh program in an empty directory of its own, unless `cwd` names another; at most `concurrency` are on their way. All
        share the session's memory and disk, and its `/tmp`. Raises for the first that the service failed at or refused, and takes back
        those on their way, as it does when it is left early.
        """
        if concurrency < 1:
            raise ValueError("concurrency is at least 1")
        alone: SessionRunOptions = {**options, "fresh": True, "cwd": options.get("cwd") or "private"}
        request = session_run_request(code, language, **alone)
        pending: Deque[str] = deque()
        try:
            for text in inputs:
                if len(pending) == concurrency:
                    result = self._runs.wait(pending[0])
                    pending.popleft()
                    yield result
                item: SessionRun = {**request, "stdin": text}
                submitted = self._runs.submit(item)
                pending.append(submitted.id)
            while pending:
                result = self._runs.wait(pending[0])
                pending.popleft()
                yield result
        finally:
            for run_id in pending:
                # Why it ended early is the news.
                with suppress(FireclayError):
                    self.interrupt(run_id)

    def interrupt(self, run: Union[str, RunSummary, RunStream]) -> bool:
        """Interrupts a run that waits or is on its way, as Ctrl-C would: it settles as `cancelled`, and the session's state stays unless
        `state_lost` says otherwise. Returns whether there was something to interrupt; a settled run is left as it is.
        """
        run_id = run if isinstance(run, str) else run.run_id if isinstance(run, RunStream) else run.id
        if run_id is None:
            raise FireclayError("the run has not begun: read the first event of its stream")
        return not isinstance(self._runs.cancel(run_id), RunResult)

    def restart(self) -> SessionView:
        """Begins all interpreters anew. Their state is cleared and what they run is cancelled; files are kept."""
        self.view = self._transport.ask(SessionView, "POST", f"{self._path}/restart")
        return self.view

    def save(self) -> SessionView:
        """Has its files saved now, of a session that was created with `durable=True`; returns when they are."""
        self.view = self._transport.ask(SessionView, "POST", f"{self._path}/save")
        return self.view

    def renew(self, *, idle_ttl: Optional[Duration] = None, ttl: Optional[Duration] = None) -> SessionView:
        """Gives it more time, from now on: `idle_ttl` when nothing runs, else as before; `ttl` at most, else as much as may be."""
        body = times(idle_ttl, ttl)
        self.view = self._transport.ask(SessionView, "POST", f"{self._path}/renew", json=body, repeatable=True)
        return self.view

    def port_url(self, port: int) -> str:
        """A link that lets a browser in to what listens on a port of the sandbox's loopback: once, and within a minute. The session must have
        been opened with `ports=True`. Programs need no link: they send their key to the link's host.
        """
        link = self._transport.ask(PortLink, "POST", f"{self._path}/ports/{port}")
        return link.url

    def look(self) -> SessionView:
        """How it is now: open or ended and why, its limits, its times, how many runs there were."""
        self.view = self._transport.ask(SessionView, "GET", self._path)
        return self.view

    def close(self) -> SessionView:
        """Ends it, with all that runs in it. Its files can be read until `end.files_until`. One that has ended is left as it is."""
        try:
            self.view = self._transport.ask(SessionView, "DELETE", self._path, repeatable=True)
        except Conflict:
            # It ended by itself, or the answer to our first try was lost.
            self.look()
        return self.view

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            self.close()
        except FireclayError:
            # What went wrong in the block says more, and the session's own time ends it.
            if error is None:
                raise


class Sessions:
    """`/v1/sessions`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, **options: Unpack[SessionOptions]) -> Session:
        """Opens a session, which stays until it is closed or its time is over. `SessionOptions` has the options."""
        body = session_request(**options)
        return Session(self._transport, self._transport.ask(SessionView, "POST", "/v1/sessions", json=body))

    def open(self, session_id: str) -> Session:
        """Comes back to a session, from another program too. Of one that has ended there are only files, for a while."""
        return Session(self._transport, self.get(session_id))

    def get(self, session_id: str) -> SessionView:
        """How a session is."""
        return self._transport.ask(SessionView, "GET", f"/v1/sessions/{one_part(session_id)}")

    def list(self, state: Optional[SessionState] = None) -> Iterator[SessionView]:
        """Sessions, newest first, fetched page by page: all of them, or those that are `open` or have `ended`."""
        cursor: Optional[str] = None
        while True:
            page = self._transport.ask(SessionList, "GET", "/v1/sessions", params={"state": state, "cursor": cursor})
            for view in page.items:
                yield view
            cursor = page.next
            if cursor is None:
                return

    def close(self, session_id: str) -> SessionView:
        """Ends a session, with all that runs in it. One that has ended is left as it is."""
        session = self.open(session_id)
        return session.close()

"""Sends requests and sends them again where that is safe. Knows nothing of what they ask."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Callable, Dict, Mapping, Optional, Type, TypeVar, Union

import httpx

from .._decode import decode
from .._local import Finder
from .._policy import Settings, at, error_of, unreachable, wait_before_retry
from .._request import to_json
from ..errors import FireclayError, Unreachable

T = TypeVar("T")

Upload = Union[bytes, Callable[[], AsyncIterator[bytes]]]
"""A file's bytes; or what reads them from the beginning, each time that they are sent."""


class AsyncTransport:
    """One service, over one pool of connections."""

    def __init__(self, settings: Settings, http: Optional[httpx.AsyncClient]) -> None:
        self.settings = settings
        self._finder = Finder()
        self._owned = http is None
        # Redirects are not followed: a key is for the service that was named.
        self._http = http or httpx.AsyncClient(timeout=settings.timeout)

    async def aclose(self) -> None:
        """Closes the connections, but not those of a client that was brought along."""
        if self._owned:
            await self._http.aclose()

    @property
    def url(self) -> str:
        """Where the service is. Waits for the local server to start, if that is asked and not there."""
        return self.settings.url or self._finder.find().url

    async def _there(self) -> Settings:
        """How to ask now: as it was said, or the local server, which may be another since the last time."""
        if self.settings.url:
            return self.settings
        find, found = self._finder.find, self._finder.known()
        if found is None:
            found = await asyncio.to_thread(find)
        return at(self.settings, found)

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Optional[Mapping[str, Any]] = None,
        headers: Optional[Mapping[str, str]] = None,
        json: Any = None,
        lines: Optional[bytes] = None,
        upload: Optional[Upload] = None,
        repeatable: Optional[bool] = None,
    ) -> httpx.Response:
        """Asks, and returns an answer whose body is still to come. Raises for a problem; the caller closes what it gets."""
        sent: Dict[str, str] = dict(headers or {})
        content = lines
        if lines is not None:
            sent["content-type"] = "application/x-ndjson"
        elif json is not None:
            sent["content-type"], content = "application/json", to_json(json)
        elif upload is not None:
            sent["content-type"] = "application/octet-stream"
        said = {key: _word(value) for key, value in (params or {}).items() if value is not None}
        if repeatable is None:
            repeatable = _repeatable(method, sent)
        attempt = 0
        while True:
            body = content if upload is None else upload if isinstance(upload, bytes) else upload()
            there = await self._there()
            whole = {**there.headers, **sent}
            request = self._http.build_request(method, there.url + path, params=said, headers=whole, content=body)
            try:
                return await self._once(request, there)
            except FireclayError as error:
                wait = wait_before_retry(error, attempt, repeatable)
                if wait is None or attempt >= self.settings.retries:
                    raise
            attempt += 1
            await asyncio.sleep(wait)

    async def _once(self, request: httpx.Request, there: Settings) -> httpx.Response:
        try:
            response = await self._http.send(request, stream=True)
            if response.is_success:
                return response
            try:
                body = await response.aread()
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise unreachable(there, error) from error
        raise error_of(response.status_code, response.headers, body)

    async def read(self, response: httpx.Response) -> bytes:
        """The whole body of an answer."""
        try:
            return await response.aread()
        except httpx.TransportError as error:
            raise unreachable(self.settings, error) from error
        finally:
            await response.aclose()

    async def ask(self, kind: Type[T], method: str, path: str, *, repeatable: Optional[bool] = None, **options: Any) -> T:
        """Asks and reads the answer as `kind`. An answer that breaks off counts as none came."""
        if repeatable is None:
            repeatable = _repeatable(method, options.get("headers") or {})
        attempt = 0
        while True:
            response = await self.send(method, path, repeatable=repeatable, **options)
            try:
                await self.read(response)
                return decode(kind, response.json())
            except Unreachable as error:
                wait = wait_before_retry(error, attempt, repeatable)
                if wait is None or attempt >= self.settings.retries:
                    raise
            except ValueError as error:
                raise FireclayError(f"the answer to {method} {path} is not JSON") from error
            attempt += 1
            await asyncio.sleep(wait)


def _repeatable(method: str, headers: Mapping[str, str]) -> bool:
    """Whether to do it twice is to do it once: it reads, it puts something in place of what is there, or it has a key."""
    return method in ("GET", "PUT") or "idempotency-key" in headers


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

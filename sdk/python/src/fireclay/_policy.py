"""Where the service is, and when a request is sent again. Pure but for the environment, which is read here."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional

import httpx

from ._decode import decode
from ._local import LocalServer, program
from ._types import Problem
from .errors import FireclayError, ProblemError, RunFaulted, Unreachable, of_problem

__version__ = "0.1.0"

# Waits double from here, and never pass the second, whatever the service says.
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 30.0
# An error's body that is longer is no problem document.
_PROBLEM_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Settings:
    """How a client asks."""

    url: str
    """Empty: the local server, wherever that is."""
    headers: Mapping[str, str]
    timeout: httpx.Timeout
    retries: int


def settings(url: Optional[str], api_key: Optional[str], timeout: float, retries: int) -> Settings:
    """Settings from what is said, else from FIRECLAY_URL and FIRECLAY_API_KEY; without an address, for the local server."""
    said = url or os.environ.get("FIRECLAY_URL", "")
    if not said:
        # Better now than with the first request.
        program()
    elif not said.startswith(("http://", "https://")):
        raise FireclayError(f"{said!r} is not an address of a service: use http://HOST:PORT in FIRECLAY_URL or url=")
    key = api_key or os.environ.get("FIRECLAY_API_KEY", "")
    headers: Dict[str, str] = {"user-agent": f"fireclay-python/{__version__}"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    return Settings(said.rstrip("/"), headers, httpx.Timeout(timeout, connect=10.0), max(0, retries))


def at(settings: Settings, local: LocalServer) -> Settings:
    """The same, for the local server. Its token is the key, unless there is one."""
    headers = dict(settings.headers)
    if local.token is not None:
        headers.setdefault("authorization", f"Bearer {local.token}")
    return replace(settings, url=local.url, headers=headers)


def wait_before_retry(error: Exception, attempt: int, repeatable: bool) -> Optional[float]:
    """How many seconds to wait before the request is sent again; None when it must not be.

    A request that was not taken (no connection, 429), or of which the service says that it may be repeated without harm (`retry_safe`),
    is sent again whatever it asks. One that may have been carried out is, only if doing it twice is doing it once (`repeatable`: it
    reads, or it has an idempotency key).
    """
    backoff = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt) * random.uniform(0.5, 1.0)
    if isinstance(error, ProblemError):
        after = error.retry_after
        if error.status == 429 or (error.status == 503 and after is not None):
            return backoff if after is None else min(after, _LONGEST_WAIT_S)
        return backoff if error.problem.retry_safe else None
    if isinstance(error, RunFaulted):
        return backoff if repeatable else None
    if isinstance(error, Unreachable):
        never_sent = isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        return backoff if never_sent or repeatable else None
    return None


def unreachable(settings: Settings, error: Exception) -> Unreachable:
    """The error for a connection that failed."""
    asked, why = settings.url or "the local server", error or type(error).__name__
    return Unreachable(f"ask {asked}: {why} (FIRECLAY_URL, or url=, names the service)")


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """The error of an answer that is none."""
    after = headers.get("retry-after", "")
    retry_after = float(after) if after.isdigit() else None
    try:
        document: Any = json.loads(body[:_PROBLEM_BYTES_MAX])
        problem = decode(Problem, document)
    except (ValueError, FireclayError):
        # Whoever answered is not fireclay, a proxy perhaps: what it said is still told.
        text = body[:500].decode("utf-8", "replace").strip()
        problem = Problem(type="about:blank", title=f"HTTP {status}", status=status, detail=text or f"HTTP {status}", hint="")
    return of_problem(problem, retry_after)

"""What can go wrong, by whose mistake it is.

FireclayError
├── Unreachable      no answer came: nobody listens, or the connection broke
├── ProblemError     the service answered with a problem document (RFC 9457), in `problem`
│   ├── Rejected     the caller's mistake, 4xx and 507
│   │   ├── Unauthenticated (401), Forbidden (403), NotFound (404), Conflict (409), TooMany (429), NoRoom (507)
│   └── Faulted      a failure of the service, 5xx
└── RunError         the run is in `run`
    ├── RunFaulted   the service failed at a run: nobody knows what its code would have done
    └── RunFailed    raised by `run.check()` only: what code does is a result, not an error
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Optional, Type

if TYPE_CHECKING:
    from ._types import Problem, RunResult


class FireclayError(Exception):
    """Any error of this package."""


class Unreachable(FireclayError):
    """No answer, or no whole one. Whether the service did what it was asked is not known."""


class ProblemError(FireclayError):
    """The service said no, and why."""

    def __init__(self, problem: Problem, retry_after: Optional[float] = None) -> None:
        field = f" ({problem.field})" if problem.field else ""
        hint = f"; {problem.hint}" if problem.hint else ""
        super().__init__(f"{problem.detail or problem.title}{field}{hint}")
        self.problem = problem
        """The document."""
        self.status = problem.status
        """The HTTP status."""
        self.retry_after = retry_after
        """After how many seconds the service wants to be asked again, if it said so."""


class Rejected(ProblemError):
    """A mistake of the caller's. The same request is refused again, but for `TooMany`."""


class Unauthenticated(Rejected):
    """The service wants a key, and not this one: set FIRECLAY_API_KEY."""


class Forbidden(Rejected):
    """The key lacks the role, or the service is asked by a name that it does not know."""


class NotFound(Rejected):
    """No such thing, or another tenant's."""


class Conflict(Rejected):
    """It contradicts what is there: an idempotency key that came with another request, say."""


class TooMany(Rejected):
    """The queue or the tenant's rate is full, after all retries."""


class NoRoom(Rejected):
    """The session's disk is full, or would be: the problem says how much is left."""


class Faulted(ProblemError):
    """A failure of the service's, after all retries that were safe."""


class RunError(FireclayError):
    """A run that is not what was hoped for."""

    def __init__(self, message: str, run: RunResult) -> None:
        super().__init__(message)
        self.run = run
        """All that is known of it."""


class RunFaulted(RunError):
    """The service failed at this run, after all retries that were safe. Not an answer about the code."""

    def __init__(self, run: RunResult) -> None:
        fault = run.fault
        super().__init__(f"{fault.code}: {fault.message}" if fault else "the run has no outcome", run)


class RunFailed(RunError):
    """The code did not complete."""

    def __init__(self, run: RunResult) -> None:
        if run.error is not None:
            message = f"{run.error.name}: {run.error.message}"
        elif run.outcome == "failed":
            message = f"exit code {run.exit_code}"
        else:
            message = str(run.outcome)
        super().__init__(message, run)


_BY_STATUS: Dict[int, Type[ProblemError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: TooMany,
    507: NoRoom,
}


def of_problem(problem: Problem, retry_after: Optional[float] = None) -> ProblemError:
    """The error of a problem document."""
    kind = _BY_STATUS.get(problem.status, Faulted if problem.status >= 500 else Rejected)
    return kind(problem, retry_after)

"""Runs code that a language model wrote: safely, at once, on your own machine.

from fireclay import Fireclay

with Fireclay() as fc:
    print(fc.run("print(sum(range(101)))").stdout)
"""

from ._async.batches import AsyncBatchStream
from ._async.client import AsyncFireclay
from ._async.stream import AsyncRunStream
from ._events import Event
from ._policy import __version__
from ._request import BatchGrading, BatchItem, BatchRun, RunOptions, run_request
from ._result import Display
from ._sync.batches import BatchStream
from ._sync.client import Fireclay
from ._sync.stream import RunStream
from ._types import (
    Answer,
    Artifact,
    BatchSummary,
    Case,
    Checker,
    Fault,
    GuestError,
    InputFile,
    Language,
    Limits,
    LimitsInForce,
    LimitsPatch,
    Outcome,
    Problem,
    RunRequest,
    RunResult,
    RunSummary,
    Summary,
    Usage,
    Version,
)
from .errors import (
    Conflict,
    Faulted,
    FireclayError,
    Forbidden,
    NotFound,
    ProblemError,
    Rejected,
    RunError,
    RunFailed,
    RunFaulted,
    TooMany,
    Unauthenticated,
    Unreachable,
)

__all__ = [
    "Answer",
    "Artifact",
    "AsyncBatchStream",
    "AsyncFireclay",
    "AsyncRunStream",
    "BatchGrading",
    "BatchItem",
    "BatchRun",
    "BatchStream",
    "BatchSummary",
    "Case",
    "Checker",
    "Conflict",
    "Display",
    "Event",
    "Fault",
    "Faulted",
    "Fireclay",
    "FireclayError",
    "Forbidden",
    "GuestError",
    "InputFile",
    "Language",
    "Limits",
    "LimitsInForce",
    "LimitsPatch",
    "NotFound",
    "Outcome",
    "Problem",
    "ProblemError",
    "Rejected",
    "RunError",
    "RunFailed",
    "RunFaulted",
    "RunOptions",
    "RunRequest",
    "RunResult",
    "RunStream",
    "RunSummary",
    "Summary",
    "TooMany",
    "Unauthenticated",
    "Unreachable",
    "Usage",
    "Version",
    "__version__",
    "run_request",
]

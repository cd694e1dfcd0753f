"""Runs code that a language model wrote: safely, at once, on your own machine.

from fireclay import Fireclay

with Fireclay() as fc:
    print(fc.run("print(sum(range(101)))").stdout)
"""

from ._async.batches import AsyncBatchStream
from ._async.client import AsyncFireclay
from ._async.files import AsyncSessionFiles
from ._async.sessions import AsyncSession, AsyncSessions
from ._async.stream import AsyncRunStream
from ._async.tasks import AsyncTasks
from ._events import Event
from ._policy import __version__
from ._request import BatchGrading, BatchItem, BatchRun, RunOptions, SessionOptions, SessionRunOptions, TaskOptions, run_request
from ._result import Display
from ._sync.batches import BatchStream
from ._sync.client import Fireclay
from ._sync.files import SessionFiles
from ._sync.sessions import Session, Sessions
from ._sync.stream import RunStream
from ._sync.tasks import Tasks
from ._types import (
    Answer,
    Artifact,
    BatchSummary,
    Case,
    Checker,
    Fault,
    FileList,
    FileView,
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
    SessionState,
    SessionView,
    Summary,
    TaskAttempt,
    TaskQuestion,
    TaskSummary,
    TaskUsage,
    TaskView,
    Usage,
    Version,
)
from .errors import (
    Conflict,
    Faulted,
    FireclayError,
    Forbidden,
    NoRoom,
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
    "AsyncSession",
    "AsyncSessionFiles",
    "AsyncSessions",
    "AsyncTasks",
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
    "FileList",
    "FileView",
    "Fireclay",
    "FireclayError",
    "Forbidden",
    "GuestError",
    "InputFile",
    "Language",
    "Limits",
    "LimitsInForce",
    "LimitsPatch",
    "NoRoom",
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
    "Session",
    "SessionFiles",
    "SessionOptions",
    "SessionRunOptions",
    "SessionState",
    "SessionView",
    "Sessions",
    "Summary",
    "TaskAttempt",
    "TaskOptions",
    "TaskQuestion",
    "TaskSummary",
    "TaskUsage",
    "TaskView",
    "Tasks",
    "TooMany",
    "Unauthenticated",
    "Unreachable",
    "Usage",
    "Version",
    "__version__",
    "run_request",
]

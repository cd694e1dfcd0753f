# Made from api/openapi.json by scripts/generate.py: change the service, or the script.
"""What goes to the service and comes from it, as api/openapi.json has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Literal, Optional, TypedDict

from ._result import Display, Judged

# What a person says to code that waits.
ApprovalDecision = Literal["approve", "always", "deny"]

# What becomes of threads and processes that runs left in a session's interpreters, from a tenth of a second after the last run
# until the next one.
Background = Literal["frozen", "slow", "running"]

# Names one batch of runs: `bat_` and 26 characters.
BatchId = str

# What is done about findings.
CheckMode = Literal["off", "warn", "deny"]

# Which findings are looked for, and which of them refuse a program.
CheckPolicy = Literal["default", "strict", "agentrun"]

# What became of an attempt to reach a host.
EgressVerdict = Literal["allowed", "refused", "failed"]

# What something in a workspace is.
EntryKind = Literal["file", "directory", "link", "other"]

# Why fireclay itself could not carry out a run.
FaultCode = Literal["isolation_failed", "interrupted", "image_unavailable", "resources_exhausted", "internal"]

# A language that fireclay runs.
Language = Literal["python", "bash", "javascript", "typescript", "c", "cpp", "rust", "go", "java", "ruby", "perl", "php", "r"]

# One layer of the wall. A run's result names those that held and those that were missing.
Layer = Literal[
    "userns",
    "pidns",
    "mountns",
    "netns",
    "ipcns",
    "utsns",
    "cgroupns",
    "cgroup",
    "capabilities",
    "no_new_privs",
    "landlock",
    "seccomp",
]

# A limit that a run touched, whether or not it ended the run.
Limit = Literal["timeout", "memory", "processes", "disk", "output"]

# The fate of the code: what *ended* the run. Data, never an error of the service.
Outcome = Literal[
    "completed",
    "failed",
    "setup_failed",
    "timed_out",
    "memory_exceeded",
    "output_exceeded",
    "disk_exceeded",
    "signalled",
    "denied",
    "cancelled",
]

# Which of a tenant's runs that wait for a place get one first. Between tenants it says nothing: each has its share.
Priority = Literal["low", "normal", "high"]

# Names one run: `run_` and 26 characters.
RunId = str

# Where a run is on its way.
RunState = Literal["queued", "running", "settled"]

# Names one session: `ses_` and 26 characters.
SessionId = str

# Where a session is.
SessionState = Literal["open", "ended"]

# How much a finding weighs.
Severity = Literal["low", "medium", "high"]

# Names one task: `tsk_` and 26 characters.
TaskId = str


@dataclass(frozen=True)
class Answer:
    """One line of the answer: one item. Which fields there are depends on what was asked."""

    index: int
    """The line's place in the batch, from 0; empty lines do not count."""
    verdict: str
    """What became of it."""
    passed: Optional[int] = None
    """How many cases are passed."""
    total: Optional[int] = None
    """How many there are."""
    cases: List[CaseAnswer] = field(default_factory=list)
    """In order."""
    id: Optional[str] = None
    """The client's name for it."""
    same_as: Optional[int] = None
    """An item that asked for the same and was run in its place."""
    retry_safe: Optional[bool] = None
    """There when a part of it is a fault: whether it may be sent again with hope."""
    problem: Optional[Problem] = None
    """What is wrong with the line."""
    fault: Optional[ItemFault] = None
    """The failure of the item as a whole."""
    run: Optional[RunResult] = None
    """The result of a plain run."""
    programs: Optional[List[ProgramAnswer]] = None
    """The programs of a group."""
    programs_passed: Optional[int] = None
    """Of a group: how many programs passed all cases."""
    pass_at_k: Optional[Dict[str, Optional[float]]] = None
    """Of a group, by k: the chance that of k programs, drawn without putting back, at least one passes (Chen et al. 2021, the
    unbiased estimate). Programs with a fault do not count; null if then fewer than k are left."""


@dataclass(frozen=True)
class Artifact:
    """A file a run left behind."""

    path: str
    """Where, relative to the workspace. Bytes that are not UTF-8 are replaced."""
    bytes: int
    """Its size."""
    sha256: str
    """SHA-256 of its content, in hex."""
    mime: str
    """A guess by its name."""


@dataclass(frozen=True)
class BatchList:
    """A page of batches."""

    items: List[BatchSummary]
    """Newest first."""
    next: Optional[str] = None
    """Where the next page begins; absent when this is the last."""


@dataclass(frozen=True)
class BatchSummary:
    """A batch."""

    id: BatchId
    """This batch."""
    state: str
    """`running`, `settled`, `cancelled` or `interrupted`."""
    created_at: str
    """When it began, RFC 3339 in UTC."""
    total: int
    """How many items have come."""
    answered: int
    """How many of them are answered."""
    verdicts: Dict[str, int]
    """Answered items by verdict."""
    options: Any
    """What was asked of the whole."""
    settled_at: Optional[str] = None
    """When it ended."""
    summary: Optional[Summary] = None
    """What it came to, once it has ended."""


class Case(TypedDict, total=False):
    """One test: exactly one of `expected`, `append` and `pytest`."""

    id: Optional[str]
    """The client's own name for it."""
    stdin: Optional[str]
    """What the program reads; absent is what its request says."""
    expected: Optional[str]
    """What it should print."""
    append: Optional[str]
    """Code of the program's language that is run after it, in the same process."""
    pytest: Optional[str]
    """A test file that imports the program by its file name."""
    limits: Optional[LimitsPatch]
    """Limits of this case, before those of the program."""
    files: List[InputFile]
    """Files that the workspace has besides the program's. The program can read them."""


@dataclass(frozen=True)
class CaseAnswer:
    """One case of one program."""

    index: int
    """Its place, from 0."""
    verdict: str
    """What became of it."""
    wall_ms: int
    """Wall time."""
    cpu_ms: int
    """Processor time."""
    memory_peak_bytes: int
    """Most memory at once."""
    id: Optional[str] = None
    """The client's name for it."""
    run: Optional[RunId] = None
    """The run; `GET /v1/runs/{id}` has all of it."""
    checker_run: Optional[RunId] = None
    """The checker's run."""
    exit_code: Optional[int] = None
    """Its exit code."""
    limits_hit: List[Limit] = field(default_factory=list)
    """Limits that were touched."""
    difference: Optional[Difference] = None
    """Where the output first differs."""
    note: Optional[str] = None
    """What to know about the verdict."""
    stderr: Optional[str] = None
    """The end of standard error, unless the case is passed."""
    fault: Optional[ItemFault] = None
    """Whose failure it is, if it is not the program's."""


class _CheckerRequired(TypedDict):
    language: Language
    """Its language."""
    code: str
    """Its text. It finds `output.txt`, `input.txt` and `expected.txt` in its working directory."""


class Checker(_CheckerRequired, total=False):
    """A program that judges another's output in a sandbox of its own: exit code 0 is passed, 1 is wrong, all else is a fault."""

    limits: LimitsPatch
    """How much it may use."""


@dataclass(frozen=True)
class Difference:
    """Where output first differs from what was expected. Lines are excerpts around the place, of at most `EXCERPT_CHARS`."""

    line: int
    """The line of the output, from 1."""
    expected: Optional[str] = None
    """What should be there; absent when the output should have ended."""
    actual: Optional[str] = None
    """What is there; absent when the output ended too early."""


@dataclass(frozen=True)
class Digests:
    """SHA-256 of what went in and came out, in hex: with `isolation`, the receipt of a run."""

    code: str
    """The code."""
    inputs: str
    """Standard input, arguments, environment and files."""
    image: str
    """The image's own digest."""
    policy: str
    """Policy: limits and the system-call rows in force."""
    outputs: str
    """Outcome, exit, output and artifacts."""


@dataclass(frozen=True)
class DurableView:
    """What of a session is kept beyond its node."""

    unsaved: bool
    """Whether files may have changed since, by a run or by a request: a node that is lost now takes that with it."""
    reopened: int
    """How often it was reopened."""
    node: Optional[str] = None
    """The node that has it; absent when none has: the next request that is for more than a look reopens it."""
    saved_at: Optional[str] = None
    """When the files were looked at that are saved, RFC 3339 in UTC; absent until the first time."""
    failure: Optional[str] = None
    """Why they could not be saved the last time."""
    last: Optional[ReopenedView] = None
    """The last time."""


class Egress(TypedDict, total=False):
    """What a sandbox may reach: absent is nothing, and so is an empty list."""

    allow: List[str]
    """Hosts: `HOST`, `HOST:PORT`, `*.HOST` for the names below it, or `*.HOST:PORT`. Without a port 443 and 80 are meant. Names
    only."""
    methods: Optional[List[str]]
    """Methods of plain HTTP, with `CONNECT` for all of TLS; absent means the usual ones."""
    secrets: Dict[str, str]
    """Secrets that the tenant keeps (`PUT /v1/secrets/{name}`), and the host that each is for: `HOST` or `HOST:PORT`, over TLS. The
    host is allowed by it. The program has a placeholder in the variable of that name; the proxy puts the value into header
    fields."""


@dataclass(frozen=True)
class EgressAttempt:
    """One connection that code tried to make to another host, told when it was over."""

    host: str
    """The host that was asked for; empty if none was understood."""
    port: int
    """The port, 0 likewise."""
    verdict: EgressVerdict
    """What became of it."""
    reason: str
    """Why it was refused, failed or cut short, as the program was told; empty if all passed."""
    bytes_up: int
    """Bytes that went to the server."""
    bytes_down: int
    """Bytes that came from it."""
    ms: int
    """How long it lasted, in milliseconds."""


@dataclass(frozen=True)
class EgressView:
    """What a session may reach."""

    allow: List[str]
    """Hosts."""
    methods: Optional[List[str]] = None
    """Methods of plain HTTP; absent is the usual ones."""
    secrets: Dict[str, str] = field(default_factory=dict)
    """Secrets, and the host that each is for."""


@dataclass(frozen=True)
class EndView:
    """The end of a session."""

    at: str
    """When, RFC 3339 in UTC."""
    why: str
    """`closed`, `idle`, `expired`, `memory_pressure`, `crashed`, `not_built`, `service_restarted` or `node_lost`."""
    detail: str
    """More, for people."""
    files_until: Optional[str] = None
    """Until when its files can be fetched; absent if there are none."""


@dataclass(frozen=True)
class Fault:
    """A failure of ours. Never an answer about the code."""

    code: FaultCode
    """What kind of failure."""
    message: str
    """What failed, naming the object."""
    retry_safe: bool
    """Whether the same request may be sent again without harm and with hope."""


@dataclass(frozen=True)
class FileList:
    """What is in a directory."""

    items: List[FileView]
    """By path."""
    truncated: bool
    """Whether there is more than was looked at: 10,000 things, 64 directories deep."""
    free_bytes: int
    """Bytes that are left on the session's disk."""


@dataclass(frozen=True)
class FileView:
    """One thing in a workspace."""

    path: str
    """Relative to the workspace. Bytes that are not UTF-8 are replaced."""
    kind: EntryKind
    """What it is."""
    bytes: int
    """Its length; 0 for what is no file."""
    modified_at: str
    """When it was last changed, RFC 3339 in UTC."""
    executable: bool
    """Whether it may be executed."""


@dataclass(frozen=True)
class Finding:
    """One thing that the static check noticed, or that a review has against the program as a whole."""

    rule: str
    """Which rule: `tree.destroy`; `review` is not one of the check, but a language model."""
    severity: Severity
    """How much it weighs."""
    line: int
    """The line, from 1."""
    column: int
    """The column, from 1, in characters."""
    reason: str
    """What is wrong with it."""
    advice: str
    """What to write instead."""
    verdict: Optional[CheckMode] = None
    """What is done about it: `deny` refuses the program. Results of versions that did not say have `warn`."""


class _GradingSaidRequired(TypedDict):
    cases: List[Case]
    """At least one."""


class GradingSaid(_GradingSaidRequired, total=False):
    """How a graded program or a group is written."""

    program: Optional[RunRequest]
    """The program of a graded program."""
    programs: Optional[List[RunRequest]]
    """The programs of a group."""
    compare: str
    """`exact`, `trim`, `tokens` or `float:EPS`."""
    checker: Optional[Checker]
    """What judges in place of the comparison."""
    stop_at_first_failure: bool
    """Whether the cases after the first that is not passed are left out."""
    k: Optional[List[int]]
    """The k of pass@k, each at most the number of programs; absent is 1, 5, 10 and 100 as far as there are programs."""


@dataclass(frozen=True)
class GuestError:
    """An uncaught exception, as the guest tells it."""

    name: str
    """The class: `ZeroDivisionError`."""
    message: str
    """What it says."""
    traceback: str
    """As the interpreter printed it."""


class _InputFileRequired(TypedDict):
    path: str
    """Where, relative to the workspace."""


class InputFile(_InputFileRequired, total=False):
    """A file to put into the workspace, as a caller says it: exactly one of `text` and `base64`."""

    text: Optional[str]
    """Its content as text."""
    base64: Optional[str]
    """Its content as base64 (RFC 4648 §4)."""
    executable: bool
    """Whether it may be executed."""


@dataclass(frozen=True)
class Isolation:
    """What held around a run, read back from the applied plan and the kernel."""

    level: str
    """The level asked for; `default` is the only one so far."""
    layers: List[Layer]
    """Layers in force."""
    missing: List[Layer]
    """Layers that the machine could not give and the operator allowed to be absent."""


@dataclass(frozen=True)
class ItemFault:
    """A failure that is not the program's: ours, with the code of a run's fault, or `checker_failed`."""

    code: str
    """What kind."""
    message: str
    """What failed."""
    retry_safe: bool
    """Whether the same item may be sent again with hope."""


@dataclass(frozen=True)
class Limits:
    """What a run may use; complete. Units are in the names."""

    timeout_ms: int
    """Wall time from the start of the code to its end."""
    memory_bytes: int
    """Memory of all processes together, files on tmpfs not counted."""
    cpus: float
    """Processors' worth of time, as a rate: 1.5 is one and a half."""
    processes: int
    """Processes and threads alive at once."""
    disk_bytes: int
    """Files written to the workspace, home, `/tmp` and `/dev/shm` together."""
    output_bytes: int
    """Output kept of each stream; more is drained and counted."""


@dataclass(frozen=True)
class LimitsInForce:
    """How much the caller's runs may use."""

    limits: Limits
    """What a run gets when it names nothing."""
    ceiling: Limits
    """The most that it may ask for; larger wishes are clamped."""
    body_bytes: int
    """The largest request body, batches apart."""


class LimitsPatch(TypedDict, total=False):
    """The limits a caller named; what is absent is inherited."""

    timeout_ms: Optional[int]
    """See `Limits::timeout_ms`."""
    memory_bytes: Optional[int]
    """See `Limits::memory_bytes`."""
    cpus: Optional[float]
    """See `Limits::cpus`."""
    processes: Optional[int]
    """See `Limits::processes`."""
    disk_bytes: Optional[int]
    """See `Limits::disk_bytes`."""
    output_bytes: Optional[int]
    """See `Limits::output_bytes`."""


@dataclass(frozen=True)
class LostView:
    """State that was lost."""

    language: Language
    """Whose."""
    why: str
    """How the interpreter ended, for people."""


@dataclass(frozen=True)
class PortLink:
    """How a port is reached."""

    url: str
    """For a browser: lets it in once, and leads to `origin`."""
    origin: str
    """For programs, with a key of the tenant in `Authorization`; and for the browser that followed the link."""
    expires_at: str
    """Until when the link is good, RFC 3339 in UTC."""


@dataclass(frozen=True)
class Problem:

    type: str
    """What kind of problem: `/problems/` and a word, explained in docs/reference/problems.md."""
    title: str
    """The kind, for people."""
    status: int
    """The HTTP status."""
    detail: str
    """What is wrong this time."""
    hint: str
    """What would be accepted, or what to do."""
    field: Optional[str] = None
    """The field at fault, as the caller spelled it."""
    retry_safe: Optional[bool] = None
    """Whether the same request may be sent again without harm and with hope."""


@dataclass(frozen=True)
class ProgramAnswer:
    """One program and its cases."""

    verdict: str
    """Of the first case that is not passed, else `passed`."""
    passed: int
    """How many cases are passed."""
    total: int
    """How many there are."""
    cases: List[CaseAnswer]
    """In order."""


@dataclass(frozen=True)
class ProgramCases:
    """What a graded program's line says besides the verdict."""

    passed: int
    """How many cases are passed."""
    total: int
    """How many there are."""
    cases: List[CaseAnswer]
    """In order."""


@dataclass(frozen=True)
class Receipt:
    """A statement about a run, signed by the service that ran it: proof for people who were not there."""

    statement: str
    """What is stated: JSON text, signed byte for byte."""
    signature: str
    """Ed25519 (RFC 8032) over the statement's bytes, in base64."""
    public_key: str
    """The public key, in base64; `GET /v1/keys/receipt` says whose it is."""


@dataclass(frozen=True)
class ReopenedView:
    """That a session was reopened."""

    at: str
    """When, RFC 3339 in UTC."""
    from_node: str
    """The node that was lost."""
    lost: str
    """What was lost, but for files that changed after that: `memory`, which is variables, imports, and all that ran."""
    files_of: Optional[str] = None
    """When the files had been saved there with which it was reopened; absent if none were."""


@dataclass(frozen=True)
class RunCounts:
    """How many runs of a session there are."""

    queued: int
    """Waiting."""
    running: int
    """On their way."""
    completed: int
    """Settled as `completed`."""
    failed: int
    """Settled as anything else."""


@dataclass(frozen=True)
class RunList:
    """A page of runs."""

    items: List[RunSummary]
    """Newest first."""
    next: Optional[str] = None
    """Where the next page begins; absent when this is the last."""


class RunRequest(TypedDict, total=False):
    """What a caller asks for. `crate::RunSpec::admit` makes it complete or rejects it."""

    language: Optional[Language]
    """The language; absent means by `file_name`, or by the code's first line."""
    template: Optional[str]
    """What its sandbox is made from; absent means the template of its language: `python`, `bash`, `node`, or the one that is called
    as the language is."""
    code: str
    """The program text."""
    file_name: Optional[str]
    """What the program's own file is called; tracebacks show it."""
    stdin: Optional[str]
    """What it reads on standard input."""
    args: List[str]
    """Its arguments."""
    env: Dict[str, str]
    """Environment variables, on top of the sandbox's own."""
    cwd: Optional[str]
    """Working directory, relative to the workspace."""
    files: List[InputFile]
    """Files put into the workspace first."""
    packages: List[str]
    """Packages that it is to have, as `pandas>=2`; those that its script block (PEP 723), `requirements.txt` or `pyproject.toml`
    name are installed too."""
    auto_packages: bool
    """Whether packages are also found by what it imports."""
    offline: bool
    """Whether only packages that are installed already may be used: then nothing is fetched."""
    python: Optional[str]
    """The version of Python that runs it, as `3.13` or `3.13.1`; absent means that of the image, or else the newest that `requires-
    python` in its script block (PEP 723) or `pyproject.toml` allows. One that is not there is refused."""
    runtime: Optional[str]
    """Language and version in one, as `python3.13` or `node20`; the same as `language` and `python`. One that is not there is
    refused."""
    egress: Optional[Egress]
    """Which hosts it may reach, through a proxy; absent is none."""
    limits: LimitsPatch
    """How much it may use."""
    check: Optional[CheckMode]
    """What is done about findings of the static check; absent means as the service is set, which is to tell them."""
    check_policy: Optional[CheckPolicy]
    """Which findings are looked for; absent means as the service is set."""
    check_rules: Dict[str, CheckMode]
    """What is done about single rules, by id, or by the beginning of ids with a `*`: `{"tree.destroy": "deny", "network.*":
    "off"}`. An exact id comes before a beginning, a longer one before a shorter."""
    review: bool
    """Whether a language model reads it first, which the service must have; what it finds unsafe is not run, and denied."""
    repeatable: Optional[bool]
    """Whether another node of a cluster runs it again when the one that ran it is gone, which is so unless it is false; then it is
    `interrupted`, as every run is on one machine."""
    metadata: Dict[str, str]
    """The caller's own labels, returned unchanged."""


@dataclass(frozen=True)
class RunResult(Judged):
    """One run and all that came of it. `result`, `displays` and `error` are what the guest says; all else the supervisor saw."""

    id: RunId
    """This run."""
    state: RunState
    """Where it is."""
    stdout: str
    """Standard output: valid UTF-8, invalid bytes replaced; head and tail when truncated."""
    stderr: str
    """Standard error, likewise."""
    stdout_truncated: bool
    """Whether the middle of stdout was dropped."""
    stderr_truncated: bool
    """Whether the middle of stderr was dropped."""
    limits_hit: List[Limit]
    """Every limit that was touched."""
    displays: List[Display]
    """Rich output, in order."""
    artifacts: List[Artifact]
    """Files it left in the workspace."""
    findings: List[Finding]
    """What the static check noticed."""
    egress: List[EgressAttempt]
    """What it tried to reach, each connection that was over when it was: of each verdict the first 1,000."""
    language: Language
    """The language, by its canonical name."""
    created_at: str
    """When the run was admitted, RFC 3339 in UTC."""
    metadata: Dict[str, str]
    """The caller's own labels."""
    usage: Usage
    """What it used."""
    isolation: Isolation
    """What really stood around it."""
    digests: Digests
    """What went in and came out, by SHA-256."""
    outcome: Optional[Outcome] = None
    """The fate of the code; absent when there is a fault."""
    fault: Optional[Fault] = None
    """Our failure; absent when there is an outcome."""
    exit_code: Optional[int] = None
    """The code's own exit code, if it exited."""
    signal: Optional[str] = None
    """The name of the signal that ended it, if one did."""
    result: Optional[Dict[str, Any]] = None
    """The value of the code, by MIME type."""
    error: Optional[GuestError] = None
    """The uncaught exception, as the guest tells it."""
    session: Optional[str] = None
    """The session it ran in."""
    state_lost: Optional[bool] = None
    """Whether what the session's interpreter had in memory was lost with this run; its files were kept."""
    receipt: Optional[Receipt] = None
    """The service's signature over all that matters of this."""


@dataclass(frozen=True)
class RunSummary:
    """A run as lists show it, and as it is while it is not settled."""

    id: RunId
    """This run."""
    state: RunState
    """Where it is."""
    language: Language
    """Its language."""
    created_at: str
    """When it was admitted, RFC 3339 in UTC."""
    metadata: Dict[str, str]
    """The caller's labels."""
    usage: Usage
    """What it used; zero until settled."""
    outcome: Optional[Outcome] = None
    """The fate of the code, once settled."""
    fault_code: Optional[FaultCode] = None
    """Our failure, once settled."""
    started_at: Optional[str] = None
    """When it got a place."""
    settled_at: Optional[str] = None
    """When it was settled."""
    session: Optional[str] = None
    """The session it ran in."""
    batch: Optional[BatchId] = None
    """The batch it belongs to."""
    index: Optional[int] = None
    """Its place there."""
    verdict: Optional[str] = None
    """The batch's judgement."""


@dataclass(frozen=True)
class SessionList:
    """A page of sessions."""

    items: List[SessionView]
    """Newest first."""
    next: Optional[str] = None
    """Where the next page begins; absent when this is the last."""


@dataclass(frozen=True)
class SessionView:
    """A session."""

    id: SessionId
    """This session."""
    state: SessionState
    """Where it is."""
    name: str
    """What its owner calls it."""
    created_at: str
    """When it was opened, RFC 3339 in UTC."""
    template: str
    """What its sandbox is made from."""
    background: Background
    """What becomes of what runs left behind, while no run is on."""
    ports: bool
    """Whether what listens in it may be visited."""
    packages: List[str]
    """Packages that its Python was opened with."""
    priority: Priority
    """Which of the tenant's runs its own come before."""
    runs: RunCounts
    """Its runs. One that is waited for and just began may be missing for a tenth of a second."""
    language: Optional[Language] = None
    """The language of runs that name none."""
    python: Optional[str] = None
    """The version of Python that it asked for; absent is the image's."""
    egress: Optional[EgressView] = None
    """Which hosts what runs in it may reach; absent is none."""
    limits: Optional[Limits] = None
    """What it may use; absent once it has ended."""
    idle_ttl_ms: Optional[int] = None
    """How long it stays when nothing runs; absent once it has ended."""
    ends_at: Optional[str] = None
    """When it ends if nothing happens any more; absent once it has ended."""
    expires_at: Optional[str] = None
    """When it ends at the latest, unless it is renewed; absent once it has ended."""
    durable: Optional[DurableView] = None
    """What of it is kept beyond its node; absent unless it was opened with `durable`."""
    lost: Optional[LostView] = None
    """The last interpreter that ended while it had no run, with its state. Files are kept."""
    end: Optional[EndView] = None
    """Its end."""


@dataclass(frozen=True)
class Summary:
    """The last line: what the batch as a whole came to."""

    total: int
    """How many items there are."""
    answered: int
    """How many were answered; the rest were taken back or cut off."""
    verdicts: Dict[str, int]
    """Answered items by verdict."""
    wall_ms: int
    """From the first line to the last answer."""
    runs: int
    """Runs that were made: programs, cases and checkers, each try counted."""
    deduplicated: int
    """Items that were not run because another asked for the same."""
    items: Tally
    """Graded programs and groups."""
    programs: Tally
    """Programs that were run, those in groups too."""
    cases: Tally
    """Cases that were run."""


@dataclass(frozen=True)
class Tally:
    """Parts of a batch that were judged, and how many passed. Faults, skipped and rejected parts are not judged."""

    passed: int
    """How many passed."""
    judged: int
    """How many were judged."""


@dataclass(frozen=True)
class TaskAttempt:
    """A piece of code that the model wrote, and what became of it."""

    number: int
    """Its place among all of the task, from 1."""
    question: int
    """Which question it was for, from 1."""
    language: Language
    """Its language."""
    code: str
    """Its text, as it ran or was to run."""
    edited: bool
    """Whether a person wrote it anew before it ran."""
    denied: List[str]
    """Why it was not let run: the words of the review, or of the person who was asked."""
    thought: Optional[str] = None
    """What the model said before it."""
    stdin: Optional[str] = None
    """What it reads on standard input."""
    run: Optional[RunId] = None
    """Its run: `GET /v1/runs/{id}` has all of it. Absent if it did not run."""
    outcome: Optional[str] = None
    """The outcome of its run, or `denied` if it was not let run; absent as long as there is none, or if the sandbox failed."""
    error: Optional[str] = None
    """What went wrong, in a few words; absent if nothing did, or it is not over."""
    output: Optional[str] = None
    """What the model was told of its run, the first 16 KiB."""
    reflection: Optional[str] = None
    """What the model said to its failure, before it tried again."""


@dataclass(frozen=True)
class TaskBudget:
    """How much one question may use. Kept outside of the model."""

    turns: int
    """Answers of the model."""
    tokens: int
    """Tokens, read and written; the turn that goes beyond is the last."""
    dollars: float
    """Dollars, as far as the price of the model is known."""
    time_ms: int
    """From the question to the answer, in milliseconds, without what a person took to approve runs."""
    runs: int
    """Runs of code."""


class TaskBudgetSaid(TypedDict, total=False):
    """How much a question may use; what is left out is as the service is set (`model.*`), and no more can be asked for."""

    turns: Optional[int]
    """Answers of the model."""
    tokens: Optional[int]
    """Tokens, read and written; the turn that goes beyond is the last."""
    dollars: Optional[float]
    """Dollars, as far as the price of the model is known."""
    time_ms: Optional[int]
    """From the question to the answer, in milliseconds, without what a person took to approve runs."""
    runs: Optional[int]
    """Runs of code."""


@dataclass(frozen=True)
class TaskLastCode:
    """The last code of a question."""

    language: Language
    """Its language."""
    code: str
    """Its text."""
    output: str
    """What the model was told of it."""
    stdin: Optional[str] = None
    """What it reads on standard input."""


@dataclass(frozen=True)
class TaskList:
    """A page of tasks."""

    items: List[TaskSummary]
    """Newest first."""
    next: Optional[str] = None
    """Where the next page begins; absent when this is the last."""


@dataclass(frozen=True)
class TaskQuestion:
    """A question, and what it came to."""

    question: str
    """The question."""
    asked_at: str
    """When it was asked, RFC 3339 in UTC."""
    budget: TaskBudget
    """How much it may use."""
    usage: TaskUsage
    """What it used, so far."""
    settled_at: Optional[str] = None
    """When it was settled."""
    state: Optional[str] = None
    """How it ended: `answered`, `budget_exceeded`, `failed`, `cancelled` or `interrupted`; absent while it has not."""
    answer: Optional[str] = None
    """The answer, if there is one. Never made up of what there was."""
    error: Optional[str] = None
    """Why there is none."""
    limit: Optional[str] = None
    """The part of the budget that was used up: `turns`, `tokens`, `dollars`, `time` or `runs`."""
    solution: Optional[TaskSolution] = None
    """The program that was found, if one was asked for and there is one."""
    last: Optional[TaskLastCode] = None
    """The last code, and what the model was told of it, of a question without an answer."""


@dataclass(frozen=True)
class TaskSolution:
    """A program that was found, and what it printed."""

    prefix: str
    """What it does, in words."""
    imports: str
    """Its imports."""
    code: str
    """All of it but its imports."""
    output: str
    """What it printed."""
    tests: Optional[str] = None
    """Tests that it passes, if they were asked for."""


class TaskSolving(TypedDict, total=False):
    """How a program is found: the model writes it whole, its imports are tried first, then all of it, each in a fresh sandbox; what
    failed goes back to the model."""

    max_iterations: int
    """How often it is written at most, 3 if nothing is said."""
    tests: bool
    """Whether the model writes tests too, which it must pass."""


@dataclass(frozen=True)
class TaskSummary:
    """A task as lists show it."""

    id: TaskId
    """This task."""
    state: str
    """`running`, `waiting` (for a person), `answered`, `budget_exceeded`, `failed`, `cancelled` or `interrupted` (the service
    ended)."""
    created_at: str
    """When it began, RFC 3339 in UTC."""
    question: str
    """Its first question."""
    questions: int
    """How many questions it was asked."""
    model: str
    """Who works on it, as `provider:model`."""
    settled_at: Optional[str] = None
    """When its latest question was settled."""
    session: Optional[SessionId] = None
    """The session that its code runs in, once it has one."""


@dataclass(frozen=True)
class TaskUsage:
    """What a question used."""

    turns: int
    """Answers of the model."""
    runs: int
    """Runs of code."""
    input_tokens: int
    """Tokens that models read."""
    cached_tokens: int
    """Of these, read from the provider's cache."""
    output_tokens: int
    """Tokens that models wrote."""
    dollars: Optional[float] = None
    """Dollars; absent if the price of some request is not known."""


@dataclass(frozen=True)
class TaskView:
    """A task."""

    id: TaskId
    """This task."""
    state: str
    """`running`, `waiting` (for a person), `answered`, `budget_exceeded`, `failed`, `cancelled` or `interrupted` (the service
    ended)."""
    created_at: str
    """When it began, RFC 3339 in UTC."""
    usage: TaskUsage
    """What the latest question used, so far."""
    model: str
    """Who works on it, as `provider:model`."""
    ask: bool
    """Whether each run waits for a person."""
    review: bool
    """Whether a language model reads code before it runs."""
    questions: List[TaskQuestion]
    """Its questions, in their order."""
    attempts: List[TaskAttempt]
    """All code that the model wrote, and what became of it."""
    settled_at: Optional[str] = None
    """When its latest question was settled."""
    answer: Optional[str] = None
    """The answer to its latest question, if there is one. Never made up of what there was."""
    error: Optional[str] = None
    """Why there is none."""
    limit: Optional[str] = None
    """The part of the budget that the latest question used up: `turns`, `tokens`, `dollars`, `time` or `runs`."""
    approval: Optional[int] = None
    """The number of the attempt that waits for a person, if one does."""
    session: Optional[SessionId] = None
    """The session that its code runs in, once it has one."""


@dataclass(frozen=True)
class Usage:
    """What a run used, as the kernel counted."""

    wall_ms: int
    """From the start of the code to its end."""
    cpu_ms: int
    """Processor time of all its processes."""
    memory_peak_bytes: int
    """The most memory it had at once; files on tmpfs count."""
    queue_ms: int
    """Time it waited for a place."""


@dataclass(frozen=True)
class Version:
    """Which fireclay this is."""

    version: str
    """Of this program."""
    image: str
    """Of the image that runs see."""

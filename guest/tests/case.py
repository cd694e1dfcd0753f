"""One program and what is expected of it."""

import dataclasses


@dataclasses.dataclass
class Case:
    """`result`, `display`, `error`: part of the last frame of that kind, None for no frame, ... for any. `same`: as the plain interpreter.

    `channel`: open, closed before the start, or broken (nobody reads).
    """

    name: str
    code: object
    result: object = None
    error: object = None
    display: object = None
    main: str = "main.py"
    files: dict = dataclasses.field(default_factory=dict)
    args: tuple = ()
    stdin: str = ""
    env: dict = dataclasses.field(default_factory=dict)
    since: tuple = (3, 9)
    same: bool = True
    channel: str = "open"
    stdout: object = None
    stderr: object = None
    exit_code: object = None

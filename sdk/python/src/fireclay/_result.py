"""What a result can do besides being read. The service's types are in `_types.py`; these are their abilities, by hand."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Union, cast

if TYPE_CHECKING:
    from ._types import Fault, Outcome, RunResult

# Which form of a display a file has, by its suffix.
_SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".json": "application/json",
    ".txt": "text/plain",
}


class Display(Dict[str, Any]):
    """One piece of rich output, by MIME type. Images are base64, as Jupyter has them; `bytes_of` decodes."""

    def bytes_of(self, mime: str) -> bytes:
        """Its content in one of its forms. `KeyError` when it has no such form."""
        content = self[mime]
        if mime.startswith("image/") and mime != "image/svg+xml":
            return base64.b64decode(content)
        text = content if isinstance(content, str) else _json(content)
        return text.encode()

    def save(self, path: Union[str, "os.PathLike[str]"]) -> Path:
        """Writes it in the form that the path's suffix names, and returns the path."""
        target = Path(path)
        mime = _SUFFIXES.get(target.suffix.lower())
        if mime is None or mime not in self:
            raise ValueError(f"cannot save as {target.suffix or target.name!r}: this display has {', '.join(self) or 'nothing'}")
        target.write_bytes(self.bytes_of(mime))
        return target


class Judged:
    """What one asks of a settled run."""

    if TYPE_CHECKING:
        outcome: Optional[Outcome]
        fault: Optional[Fault]
        stderr: str
        result: Optional[Dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether the code ran to its end and exited with 0."""
        return self.outcome == "completed"

    @property
    def value(self) -> Any:
        """The value of the code's last expression: as JSON has it, else as text; None without one."""
        values = self.result or {}
        return values.get("application/json", values.get("text/plain"))

    def check(self) -> RunResult:
        """Itself, if the code completed; else raises `RunFailed`, which has it."""
        from .errors import RunFailed

        run = cast("RunResult", self)
        if not self.ok:
            raise RunFailed(run)
        return run


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)

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
    ".pdf": "application/pdf",
    ".html": "text/html",
    ".md": "text/markdown",
    ".tex": "text/latex",
    ".json": "application/json",
    ".txt": "text/plain",
}
# Forms by how much they show, the most first.
_RICHEST = (
    "image/png",
    "image/jpeg",
    "image/svg+xml",
    "application/pdf",
    "text/html",
    "text/markdown",
    "text/latex",
    "application/json",
)


class Display(Dict[str, Any]):
    """One piece of rich output, by MIME type. Images are base64, as Jupyter has them; `data` and `bytes_of` decode."""

    @property
    def mime(self) -> str:
        """The form that shows most: an image before a page, a page before text. Empty when it has none."""
        return next((mime for mime in _RICHEST if mime in self), next(iter(self), ""))

    @property
    def data(self) -> bytes:
        """Its content in that form. `KeyError` when it has none."""
        return self.bytes_of(self.mime)

    def bytes_of(self, mime: str) -> bytes:
        """Its content in one of its forms. `KeyError` when it has no such form."""
        content = self[mime]
        if mime == "application/pdf" or (mime.startswith("image/") and mime != "image/svg+xml"):
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

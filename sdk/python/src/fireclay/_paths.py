"""Names of files that hostile code chose."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from .errors import FireclayError


def inside(root: Path, name: str) -> Path:
    """Where a file of this name lies under `root`. Raises for a name that leads out of it, through a link too."""
    parts = PurePosixPath(name).parts
    # A backslash or a colon would be a path to Windows.
    if not parts or name.startswith("/") or any(part == ".." or "\\" in part or ":" in part or "\0" in part for part in parts):
        raise FireclayError(f"the run left a file with a name that is not safe to write: {name!r}")
    target = root.joinpath(*parts)
    if not target.resolve().is_relative_to(root.resolve()):
        raise FireclayError(f"{name!r} would be written outside {root}")
    return target

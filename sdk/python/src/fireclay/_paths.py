"""Names that others chose, in addresses and on this machine's disk."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import quote

from .errors import FireclayError


def one_part(word: str) -> str:
    """A word as one part of an address."""
    # httpx would resolve dots, to another address (RFC 3986, section 5.2.4): so they go as what they are, for the service to refuse.
    return word.replace(".", "%2E") if word in (".", "..") else quote(word, safe="")


def parts_of(path: str) -> str:
    """A path of a workspace as parts of an address, as many as it has."""
    return "/".join(one_part(part) for part in path.split("/"))


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

# Made from _async/files.py by scripts/generate.py: change it there.
"""Files of a session: read, written and moved while code works with them, and read for a while after its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator, Optional, Union

import httpx

from .._paths import parts_of
from .._policy import unreachable
from .._request import FileContent
from .._types import FileList, FileView
from .transport import Transport, Upload

# How much of a file is in memory at once.
_CHUNK_BYTES = 256 << 10


class SessionFiles:
    """`/v1/sessions/{id}/files`. Paths are relative to the workspace; no link is followed."""

    def __init__(self, transport: Transport, session_path: str) -> None:
        self._transport = transport
        self._path = session_path

    def read(self, path: str) -> bytes:
        """The content of a file. `save` and `stream` are for one that is too large for memory."""
        response = self._transport.send("GET", self._file(path))
        return self._transport.read(response)

    def read_text(self, path: str) -> str:
        """The content of a file that is UTF-8."""
        content = self.read(path)
        return content.decode("utf-8")

    def stream(self, path: str) -> Iterator[bytes]:
        """The content of a file, piece by piece. Raises `Unreachable` when it breaks off."""
        response = self._transport.send("GET", self._file(path))
        try:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                yield chunk
        except httpx.TransportError as error:
            raise unreachable(self._transport.settings, error) from error
        finally:
            response.close()

    def save(self, path: str, to: Union[str, "os.PathLike[str]"]) -> Path:
        """Writes a file to this machine's disk, whole or not at all, and returns its path there. Never much of it is in memory."""
        target = Path(to)
        part = target.with_name(f".{target.name}.part-{os.getpid()}")
        try:
            with part.open("wb") as file:
                for chunk in self.stream(path):
                    file.write(chunk)
            return part.replace(target)
        finally:
            # Still there if something went wrong.
            part.unlink(missing_ok=True)

    def write(self, path: str, content: FileContent, *, executable: bool = False) -> FileView:
        """Puts a file there, whole or not at all, in place of what was there; directories on the way are made.

        The content is text, bytes, or the path of a file of this machine, of which never much is in memory.
        """
        upload = _upload(content)
        params = {"executable": True} if executable else {}
        return self._transport.ask(FileView, "PUT", self._file(path), params=params, upload=upload)

    def list(self, path: str = "", *, recursive: bool = False, glob: Optional[str] = None) -> FileList:
        """What is in a directory, and with `recursive` below it; with `glob` only what matches: `*`, `**`, `?`, `[ab]`, `{a,b}`."""
        params = {"path": path or None, "recursive": recursive or None, "glob": glob}
        return self._transport.ask(FileList, "GET", f"{self._path}/files", params=params)

    def remove(self, path: str) -> None:
        """Removes a file, or a directory with all that is in it."""
        response = self._transport.send("DELETE", self._file(path))
        self._transport.read(response)

    def move(self, path: str, to: str, *, replace: bool = False) -> FileView:
        """Moves a file or a directory; directories on the way are made. Raises `Conflict` if something is there, without `replace`."""
        body = {"from": path, "to": to, "replace": replace}
        return self._transport.ask(FileView, "POST", f"{self._path}/move", json=body)

    def mkdir(self, path: str) -> FileView:
        """Makes a directory, and those on the way."""
        return self._transport.ask(FileView, "POST", f"{self._path}/directories", json={"path": path})

    def _file(self, path: str) -> str:
        return f"{self._path}/files/{parts_of(path)}"


def _upload(content: FileContent) -> Upload:
    """A file's content as it is sent: one of this machine is read anew for each try."""
    if isinstance(content, os.PathLike):
        path = Path(content)
        return lambda: _chunks(path)
    return content.encode("utf-8") if isinstance(content, str) else bytes(content)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk

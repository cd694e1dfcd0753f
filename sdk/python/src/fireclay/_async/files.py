"""Files of a session: read, written and moved while code works with them, and read for a while after its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import AsyncIterator, Optional, Union

import httpx

from .._paths import parts_of
from .._policy import unreachable
from .._request import FileContent
from .._types import FileList, FileView
from .transport import AsyncTransport, Upload

# How much of a file is in memory at once.
_CHUNK_BYTES = 256 << 10


class AsyncSessionFiles:
    """`/v1/sessions/{id}/files`. Paths are relative to the workspace; no link is followed."""

    def __init__(self, transport: AsyncTransport, session_path: str) -> None:
        self._transport = transport
        self._path = session_path

    async def read(self, path: str) -> bytes:
        """The content of a file. `save` and `stream` are for one that is too large for memory."""
        response = await self._transport.send("GET", self._file(path))
        return await self._transport.read(response)

    async def read_text(self, path: str) -> str:
        """The content of a file that is UTF-8."""
        content = await self.read(path)
        return content.decode("utf-8")

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """The content of a file, piece by piece. Raises `Unreachable` when it breaks off."""
        response = await self._transport.send("GET", self._file(path))
        try:
            async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                yield chunk
        except httpx.TransportError as error:
            raise unreachable(self._transport.settings, error) from error
        finally:
            await response.aclose()

    async def save(self, path: str, to: Union[str, "os.PathLike[str]"]) -> Path:
        """Writes a file to this machine's disk, whole or not at all, and returns its path there. Never much of it is in memory."""
        target = Path(to)
        part = target.with_name(f".{target.name}.part-{os.getpid()}")
        try:
            with part.open("wb") as file:
                async for chunk in self.stream(path):
                    file.write(chunk)
            return part.replace(target)
        finally:
            # Still there if something went wrong.
            part.unlink(missing_ok=True)

    async def write(self, path: str, content: FileContent, *, executable: bool = False) -> FileView:
        """Puts a file there, whole or not at all, in place of what was there; directories on the way are made.

        The content is text, bytes, or the path of a file of this machine, of which never much is in memory.
        """
        upload = _upload(content)
        params = {"executable": True} if executable else {}
        return await self._transport.ask(FileView, "PUT", self._file(path), params=params, upload=upload)

    async def list(self, path: str = "", *, recursive: bool = False, glob: Optional[str] = None) -> FileList:
        """What is in a directory, and with `recursive` below it; with `glob` only what matches: `*`, `**`, `?`, `[ab]`, `{a,b}`."""
        params = {"path": path or None, "recursive": recursive or None, "glob": glob}
        return await self._transport.ask(FileList, "GET", f"{self._path}/files", params=params)

    async def remove(self, path: str) -> None:
        """Removes a file, or a directory with all that is in it."""
        response = await self._transport.send("DELETE", self._file(path))
        await self._transport.read(response)

    async def move(self, path: str, to: str, *, replace: bool = False) -> FileView:
        """Moves a file or a directory; directories on the way are made. Raises `Conflict` if something is there, without `replace`."""
        body = {"from": path, "to": to, "replace": replace}
        return await self._transport.ask(FileView, "POST", f"{self._path}/move", json=body)

    async def mkdir(self, path: str) -> FileView:
        """Makes a directory, and those on the way."""
        return await self._transport.ask(FileView, "POST", f"{self._path}/directories", json={"path": path})

    def _file(self, path: str) -> str:
        return f"{self._path}/files/{parts_of(path)}"


def _upload(content: FileContent) -> Upload:
    """A file's content as it is sent: one of this machine is read anew for each try."""
    if isinstance(content, os.PathLike):
        path = Path(content)
        return lambda: _chunks(path)
    return content.encode("utf-8") if isinstance(content, str) else bytes(content)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk

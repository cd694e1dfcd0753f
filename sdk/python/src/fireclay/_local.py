"""The local server: found, or started, by the program `fireclay`, which knows how (docs/design/0017-the-local-server.md).

There is no code about locks, owners and versions here. Whether the server is still there is asked before each request, from /proc: it may
have ended since, and whoever listens at its port then is somebody else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .errors import FireclayError, Unreachable

_NO_PROGRAM = (
    "no service is named, and the program `fireclay` that would start one is not here: set FIRECLAY_URL, or say Fireclay(url=...). "
    "The package for Linux brings the program; elsewhere, a service on another machine is asked"
)


@dataclass(frozen=True)
class LocalServer:
    """A server of this machine."""

    url: str
    token: Optional[str]
    """What it wants as a key; None of a service that was started by hand."""
    pid: int
    started: int
    """When its process was started, in ticks since the machine was: with it the number is never another's."""

    def is_there(self) -> bool:
        """Whether its process lives."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text("utf-8", "replace")
        except OSError:
            return False
        # The name, in brackets, may hold anything. After it comes the state, of which Z and X are those of the dead; the 22nd field is when
        # it was started.
        fields = stat.rpartition(")")[2].split()
        return fields[0] not in ("Z", "X") and fields[19] == str(self.started)


class Finder:
    """Finds the server once, and anew when it is gone. May be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Optional[LocalServer] = None

    def known(self) -> Optional[LocalServer]:
        """The one that was found, if it is still there. Does not wait."""
        found = self._found
        return found if found is not None and found.is_there() else None

    def find(self) -> LocalServer:
        """The one that was found, or one that is found or started now. Waits until it answers."""
        with self._lock:
            self._found = self.known() or _start()
            return self._found


def program() -> str:
    """The program that came with this package, else the one on PATH. Raises if there is none."""
    schemes = ["", sysconfig.get_preferred_scheme("user") if sys.version_info >= (3, 10) else "posix_user"]
    for scheme in schemes:
        brought = Path(sysconfig.get_path("scripts", scheme) if scheme else sysconfig.get_path("scripts")) / "fireclay"
        if brought.is_file() and _is_program(brought):
            return str(brought)
    found = shutil.which("fireclay")
    if found is None:
        raise FireclayError(_NO_PROGRAM)
    return found


def _is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _start() -> LocalServer:
    command = [program(), "local", "start", "--json"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if ran.returncode != 0:
        raise Unreachable(f"{' '.join(command)}: {ran.stderr.decode('utf-8', 'replace').strip()}")
    try:
        said = json.loads(ran.stdout)
        return LocalServer(said["url"], said["token"], said["pid"], said["started"])
    except (ValueError, KeyError, TypeError) as error:
        raise FireclayError(f"{' '.join(command)} says {ran.stdout[:200]!r}") from error

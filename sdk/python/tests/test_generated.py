"""What is made by scripts/generate.py is fresh, and the two clients are one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import fireclay

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "generate.py"


def test_generated_files_are_fresh() -> None:
    assert subprocess.run([sys.executable, str(SCRIPT), "--check"]).returncode == 0


def test_both_clients_have_the_same_surface() -> None:
    for one, other in [
        (fireclay.Fireclay, fireclay.AsyncFireclay),
        (fireclay.RunStream, fireclay.AsyncRunStream),
        (fireclay.BatchStream, fireclay.AsyncBatchStream),
        (fireclay.Sessions, fireclay.AsyncSessions),
        (fireclay.Session, fireclay.AsyncSession),
        (fireclay.SessionFiles, fireclay.AsyncSessionFiles),
    ]:
        surface = {name for name in vars(one) if not name.startswith("_")}
        twin = {"close" if name == "aclose" else name for name in vars(other) if not name.startswith("_")}
        assert surface == twin


def test_no_word_of_the_other_client_is_left() -> None:
    for file in Path(inspect.getfile(fireclay)).parent.joinpath("_sync").glob("*.py"):
        assert not {"async", "await", "asyncio", "AsyncClient"} & set(file.read_text().split()), file

"""The package as it is installed: its version, and its types as another project's checker sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fireclay
from fireclay import Fireclay

REPOSITORY = Path(__file__).resolve().parents[3]


def test_there_is_one_version(fc: Fireclay) -> None:
    api = json.loads((REPOSITORY / "api" / "openapi.json").read_text("utf-8"))
    assert fireclay.__version__ == api["info"]["version"] == fc.version().version
    assert f'version = "{fireclay.__version__}"' in (REPOSITORY / "sdk" / "python" / "pyproject.toml").read_text("utf-8")


def test_others_see_its_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "good.py").write_text(
        "from fireclay import Fireclay\n"
        "fc = Fireclay('http://x')\n"
        "text: str = fc.run('1', 'bash', limits={'timeout_ms': 1}, files={'a': b''}).stdout\n"
        "with fc.session(template='python-data', idle_ttl=60, limits={'cpus': 2}) as s:\n"
        "    text = s.run('1', fresh=True, cwd='private').check().stdout\n"
        "    data: bytes = s.files.read('a') + s.run('1').displays[0].data\n"
    )
    (tmp_path / "bad.py").write_text(
        "from fireclay import Fireclay\n"
        "fc = Fireclay('http://x')\n"
        "number: int = fc.run('1').stdout\n"
        "fc.run('1', 'cobol')\n"
        "fc.run('1', limits={'timeout': 1})\n"
        "fc.run('1', tempalte='x')\n"
        "with fc.session(tempalte='x') as s:\n"
        "    s.run('1', template='x')\n"
        "    s.files.write('a', 1)\n"
        "with fc.session(idle_ttl='1h') as s: pass\n"
    )
    check = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file", ""]
    good = subprocess.run([*check, "good.py"], cwd=tmp_path, capture_output=True, text=True)
    assert good.returncode == 0, good.stdout
    bad = subprocess.run([*check, "bad.py"], cwd=tmp_path, capture_output=True, text=True)
    assert [line.split(":")[1] for line in bad.stdout.splitlines() if ": error:" in line] == [str(line) for line in range(3, 11)], (
        bad.stdout
    )

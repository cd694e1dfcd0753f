"""AgentRun's class (github.com/tjmlabs/AgentRun, 0.2.5) over a service of fireclay.

    from fireclay.compat.agentrun import AgentRun      # was: from agentrun import AgentRun

    AgentRun(container_name="any").execute_code_in_container("print('Hello, world!')")

What differs, on purpose:

- There is no container: each program has a sandbox of its own, and `container_name` is a label of its run.
- Nothing is refused for how it looks: `safety_check` finds errors of syntax only. The sandbox is the wall, not a list of words.
- An import that is no distribution's own name is mapped to its own: `cv2` is `opencv-python` (AgentRun installs what is called `cv2`).
- A program that takes too long is ended, not left behind.
- A sandbox has no swap. `memory_limit` is the wall, as in a container on a machine without swap; `memswap_limit` is checked as Docker does.
- A failure of the service is raised; AgentRun returns the error's words as if the program had printed them.
"""

from __future__ import annotations

import ast
import re
import sys
import uuid
import weakref
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple, Union

from .. import Fireclay, Language, LimitsPatch, Rejected, RunOptions, RunResult, Unreachable

# Docker's period of `cpu_quota`, in microseconds, and its least values (github.com/moby/moby, daemon/daemon_unix.go).
_CPU_PERIOD_US = 100_000
_CPU_QUOTA_MIN_US = 1000
_MEMORY_MIN_BYTES = 6 << 20
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
# As much as there may be: AgentRun cuts nothing off. The service clamps it to its ceiling.
_OUTPUT_BYTES = 1 << 40

_DATA_TEMPLATE = "python-data"
# What can be imported there, whichever Python it was built for; what its packages bring besides is installed where it is asked for.
_DATA_MODULES = {"matplotlib", "mpl_toolkits", "numpy", "pandas", "pylab"}


class AgentRun:
    """Runs Python code, each program in a sandbox of its own. The arguments are AgentRun's, with its defaults."""

    class CommandTimeout(Exception):
        """A command took longer than it may."""

    def __init__(
        self,
        container_name: str,
        dependencies_whitelist: Sequence[str] = ("*",),
        cached_dependencies: Sequence[str] = (),
        cpu_quota: int = 50000,
        default_timeout: float = 20,
        memory_limit: Union[str, int] = "100m",
        memswap_limit: Union[str, int] = "512m",
        client: Optional[Fireclay] = None,
    ) -> None:
        if not container_name:
            raise ValueError(f"Container {container_name} not found.")
        self.container_name = container_name
        self.dependencies_whitelist = list(dependencies_whitelist)
        self.cached_dependencies = list(cached_dependencies)
        self.cpu_quota = cpu_quota
        self.default_timeout = default_timeout
        self.memory_limit = memory_limit
        self.memswap_limit = memswap_limit
        limits_of(cpu_quota, memory_limit, memswap_limit)
        self.client = client or Fireclay()
        if client is None:
            # AgentRun's callers close nothing.
            weakref.finalize(self, self.client.close)
        try:
            self.client.version()
        except Unreachable as error:
            raise RuntimeError(f"Failed to connect to the service. Please make sure it is running. {error}") from error
        if not self.validate_cached_dependencies():
            raise ValueError("Some cached dependencies are not in the whitelist.")
        if self.cached_dependencies:
            try:
                # Installed now, so that no program waits for it.
                self.client.run("", **self._having(self.cached_dependencies))
            except Rejected as error:
                if error.problem.field != "packages":
                    raise
                raise ValueError(f"The cached dependencies cannot be installed. {error}") from error

    def is_everything_whitelisted(self) -> bool:
        """Whether any package may be used."""
        return "*" in self.dependencies_whitelist

    def validate_cached_dependencies(self) -> bool:
        """Whether all cached packages may be used."""
        return self.is_everything_whitelisted() or all(name in self.dependencies_whitelist for name in self.cached_dependencies)

    def safety_check(self, python_code: str) -> Dict[str, object]:
        """Whether the code can be run at all: `safe` is false for an error of syntax, by the grammar of this Python."""
        try:
            ast.parse(python_code)
        except (SyntaxError, ValueError) as error:
            return {"safe": False, "message": f"Syntax error: {error}"}
        return {"safe": True, "message": "The code is safe to execute."}

    def parse_dependencies(self, python_code: str) -> List[str]:
        """Modules that the code imports and the standard library has not, sorted. Raises `SyntaxError` as `ast.parse` does."""
        names: Set[str] = set()
        for node in ast.walk(ast.parse(python_code)):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
        return sorted(name for name in names if not _is_standard(name))

    def execute_command_in_container(self, container: Any, cmd: str, timeout: float) -> Tuple[Optional[int], str]:
        """Runs a shell's line in a fresh sandbox; its exit code, and what it wrote. Raises `CommandTimeout`."""
        run, output = self._run(cmd, "bash", timeout, {})
        if run.outcome == "timed_out":
            raise self.CommandTimeout("Command timed out")
        return run.exit_code, output

    def execute_code_in_container(self, python_code: str) -> str:
        """What a program writes to standard output and error, in the order in which it comes; or AgentRun's words for what went wrong."""
        try:
            needed = self.parse_dependencies(python_code)
        except (SyntaxError, ValueError):
            # The sandbox's Python may know more of the language than this one, and says what is wrong if it does not.
            needed = []
        if not self.is_everything_whitelisted():
            for name in needed:
                if name not in self.dependencies_whitelist:
                    return f"Dependency: {name} is not in the whitelist."
        options = self._having([*needed, *self.cached_dependencies])
        script = f"script_{uuid.uuid4().hex}.py"
        try:
            run, output = self._run(python_code, "python", self.default_timeout, {**options, "file_name": script})
        except Rejected as error:
            if error.problem.field != "packages":
                raise
            for name in needed:
                # Nothing of it is executed: what it would import is installed.
                try:
                    self.client.run(f"if 0:\n    import {name}", auto_packages=True)
                except Rejected:
                    return f"Failed to install dependency {name}"
            raise
        if run.outcome == "timed_out":
            return "Execution timed out."
        if run.error is not None and run.error.name == "SyntaxError" and not self.safety_check(python_code)["safe"]:
            return "Syntax error: " + run.error.message.replace(f"({script},", "(<unknown>,")
        return output.replace(f"/workspace/{script}", f"/code/{script}")

    def _run(self, code: str, language: Language, timeout: float, options: RunOptions) -> Tuple[RunResult, str]:
        limits: LimitsPatch = {
            **limits_of(self.cpu_quota, self.memory_limit, self.memswap_limit),
            "timeout_ms": max(1, round(timeout * 1000)),
            "output_bytes": _OUTPUT_BYTES,
        }
        labels = {"api": "agentrun", "container": self.container_name}
        said: RunOptions = {**options, "limits": limits, "metadata": labels}
        written: List[bytes] = []
        whole = True
        with self.client.stream(code, language, **said) as events:
            for event in events:
                written.append(event.data)
                whole = whole and event.kind != "omitted"
            run = events.result
        return run, b"".join(written).decode("utf-8", "replace") if whole else run.stdout + run.stderr

    def _having(self, needed: Sequence[str]) -> RunOptions:
        """What a program with these dependencies runs in: the template that has them, warm, else what is installed for it."""
        if not needed:
            return {}
        if set(needed) <= _DATA_MODULES:
            return {"template": _DATA_TEMPLATE}
        return {"packages": self.cached_dependencies, "auto_packages": True}


def limits_of(cpu_quota: int, memory_limit: Union[str, int], memswap_limit: Union[str, int]) -> LimitsPatch:
    """Docker's limits as ours. Raises `ValueError` for what Docker refuses."""
    memory, both = bytes_of(memory_limit), bytes_of(memswap_limit)
    if 0 < memory < _MEMORY_MIN_BYTES:
        raise ValueError("Minimum memory limit allowed is 6MB")
    # -1 is any amount of swap, 0 is Docker's own choice.
    if both > 0 and both < memory:
        raise ValueError("Minimum memoryswap limit should be larger than memory limit, see usage")
    if both > 0 and not memory:
        raise ValueError("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < cpu_quota < _CPU_QUOTA_MIN_US:
        raise ValueError("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    limits: LimitsPatch = {}
    if memory > 0:
        limits["memory_bytes"] = memory
    if cpu_quota > 0:
        limits["cpus"] = cpu_quota / _CPU_PERIOD_US
    return limits


def bytes_of(size: Union[str, int]) -> int:
    """A size as docker-py reads it: `100m`, `1.5g`, a number of bytes."""
    if isinstance(size, int):
        return size
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?)([bkmgt]?)b?", size.strip().lower())
    if found is None:
        raise ValueError(
            f"The specified value for memory ({size}) should specify the units. The postfix should be one of b k m g t"
        )
    return int(float(found[1]) * _UNITS[found[2]])


def _is_standard(name: str) -> bool:
    # Python 3.9 has no list of its own library; there, what it can find outside of site-packages is taken for it.
    known = getattr(sys, "stdlib_module_names", None)
    if known is not None:
        return name in known or name in sys.builtin_module_names
    from importlib.util import find_spec

    if name in sys.builtin_module_names or name == "__main__":
        return True
    spec = find_spec(name)
    place = (spec.origin or "") if spec is not None else "site-packages"
    return "site-packages" not in place and "dist-packages" not in place and (place == "frozen" or "python" in place.lower())

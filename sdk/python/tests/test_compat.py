"""AgentRun's and Flame's interfaces: each argument, each error, and the programs of their READMEs."""

from __future__ import annotations

import asyncio
import json
from typing import Any, List

import httpx
import pytest

from fireclay import AsyncFireclay, Fireclay
from fireclay.compat import flame
from fireclay.compat.agentrun import AgentRun, bytes_of, limits_of

from .test_transport import SETTLED, Service, events

SPEND = "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass\nprint('spent')"


@pytest.fixture
def agent(fc: Fireclay) -> AgentRun:
    return AgentRun("agentrun-api", client=fc)


def test_hello(agent: AgentRun) -> None:
    assert agent.execute_code_in_container("print('Hello, world!')") == "Hello, world!\n"
    assert agent.execute_code_in_container("") == ""


def test_both_streams_are_one(agent: AgentRun) -> None:
    output = agent.execute_code_in_container("import sys\nprint('a', flush=True)\nprint('b', file=sys.stderr)\n1/0")
    lines = output.splitlines()
    assert sorted(lines[:2]) == ["a", "b"] and lines[-1] == "ZeroDivisionError: division by zero"
    assert '  File "/code/script_' in output and "/workspace" not in output


def test_errors_of_syntax_have_agentruns_words(agent: AgentRun) -> None:
    assert agent.execute_code_in_container("print((") == "Syntax error: '(' was never closed (<unknown>, line 1)"
    assert agent.safety_check("print(")["safe"] is False
    # What AgentRun refuses is run: the sandbox is the wall.
    assert agent.safety_check("import os") == {"safe": True, "message": "The code is safe to execute."}
    assert agent.execute_code_in_container("import os; print(os.getcwd())") == "/workspace\n"
    assert "SyntaxError" in agent.execute_code_in_container("exec('(')")


def test_container_name_is_a_label(agent: AgentRun, fc: Fireclay) -> None:
    agent.execute_code_in_container("print(1)")
    assert next(fc.runs.list(metadata="container=agentrun-api")).metadata["api"] == "agentrun"
    with pytest.raises(ValueError, match="not found"):
        AgentRun("", client=fc)


def test_default_timeout(fc: Fireclay) -> None:
    agent = AgentRun("c", default_timeout=0.2, client=fc)
    assert agent.execute_code_in_container("while True: pass") == "Execution timed out."


def test_limits_are_sent_with_agentruns_defaults() -> None:
    settled = events((1, "settled", SETTLED))
    service = Service(httpx.Response(200, json={"version": "1", "image": ""}), settled)
    AgentRun("c", client=service.client()).execute_code_in_container("print(1)")
    limits = json.loads(service.asked[-1].content)["limits"]
    assert limits.pop("output_bytes") >= 1 << 30
    assert limits == {"timeout_ms": 20000, "memory_bytes": 100 << 20, "cpus": 0.5}


def test_memory_limit(fc: Fireclay) -> None:
    code = "x = bytearray(150 << 20)\nprint('kept')"
    assert AgentRun("c", client=fc).execute_code_in_container(code) == ""
    assert AgentRun("c", memory_limit="200m", client=fc).execute_code_in_container(code) == "kept\n"
    with pytest.raises(ValueError, match="Minimum memory limit allowed is 6MB"):
        AgentRun("c", memory_limit="5m", client=fc)
    with pytest.raises(ValueError, match="should specify the units"):
        AgentRun("c", memory_limit="much", client=fc)


def test_memswap_limit(fc: Fireclay) -> None:
    with pytest.raises(ValueError, match="Minimum memoryswap limit should be larger than memory limit"):
        AgentRun("c", memory_limit="600m", client=fc)
    assert AgentRun("c", memory_limit="600m", memswap_limit="700m", client=fc).memswap_limit == "700m"
    assert AgentRun("c", memswap_limit=-1, client=fc).execute_code_in_container("print(1)") == "1\n"


def test_cpu_quota(fc: Fireclay) -> None:
    def share(quota: int) -> float:
        AgentRun(f"quota-{quota}", cpu_quota=quota, client=fc).execute_code_in_container(SPEND)
        usage = next(fc.runs.list(metadata=f"container=quota-{quota}")).usage
        return usage.cpu_ms / usage.wall_ms

    # The quota is for each 100 ms; a little is spent ahead.
    assert share(10000) < 0.3
    with pytest.raises(ValueError, match="CPU cfs quota"):
        AgentRun("c", cpu_quota=10, client=fc)
    assert limits_of(50000, "100m", "512m") == {"cpus": 0.5, "memory_bytes": 100 << 20}
    assert limits_of(-1, 0, 0) == {}


def test_dependencies_whitelist(fc: Fireclay) -> None:
    assert (
        AgentRun("c", ["pandas"], client=fc).execute_code_in_container("import numpy")
        == "Dependency: numpy is not in the whitelist."
    )
    assert AgentRun("c", [], client=fc).execute_code_in_container("import json; print(1)") == "1\n"
    agent = AgentRun("c", client=fc)
    assert agent.execute_code_in_container("import six\nprint(six.PY3)") == "True\n"
    # By another name than its distribution has.
    assert agent.execute_code_in_container("import yaml\nprint(yaml.safe_load('a: 1'))") == "{'a': 1}\n"
    assert agent.execute_code_in_container("import nosuchpkg_zz") == "Failed to install dependency nosuchpkg_zz"


def test_cached_dependencies(fc: Fireclay) -> None:
    assert AgentRun("c", ["numpy"], ["numpy"], client=fc).cached_dependencies == ["numpy"]
    with pytest.raises(ValueError, match="Some cached dependencies are not in the whitelist."):
        AgentRun("c", ["pandas"], ["numpy"], client=fc)
    cached = AgentRun("c", cached_dependencies=["six"], client=fc)
    assert cached.execute_code_in_container("import six\nprint(six.PY3)") == "True\n"
    with pytest.raises(ValueError, match="nosuchpkg-zz was not found"):
        AgentRun("c", cached_dependencies=["nosuchpkg-zz"], client=fc)


def test_numpy_runs_in_the_default_memory(agent: AgentRun, python_data: None) -> None:
    assert agent.execute_code_in_container("import numpy as np\nprint(np.arange(5).sum())") == "10\n"


def test_dependencies_are_parsed_as_agentrun_does(agent: AgentRun) -> None:
    code = "import os, numpy.linalg as l\nfrom pandas.core import x\nfrom . import y\ndef f():\n  import json, six"
    assert agent.parse_dependencies(code) == ["numpy", "pandas", "six"]


def test_commands(agent: AgentRun) -> None:
    assert agent.execute_command_in_container(None, "echo out; echo err >&2; exit 3", 10)[0] == 3
    with pytest.raises(AgentRun.CommandTimeout):
        agent.execute_command_in_container(None, "sleep 9", 0.2)


def test_no_service_is_agentruns_error() -> None:
    with pytest.raises(RuntimeError, match="Failed to connect"):
        AgentRun("c", client=Fireclay("http://127.0.0.1:9", retries=0))


def test_sizes() -> None:
    assert [bytes_of(size) for size in ("100m", "1.5g", "7", "2kb", 9, "-1")] == [100 << 20, 3 << 29, 7, 2048, 9, -1]


def payload(**said: Any) -> bytes:
    return json.dumps(said).encode()


def invoke(url: str, *payloads: bytes, **options: Any) -> List[flame.Task]:
    async def all_of_them() -> List[flame.Task]:
        async with AsyncFireclay(url) as client, await flame.create_session("flmexec", client=client, **options) as session:
            return list(await asyncio.gather(*(session.invoke(said) for said in payloads)))

    return asyncio.run(all_of_them())


def test_flame_runs_scripts(url: str) -> None:
    python, shell = invoke(url, payload(language="Python", code="print(1 + 1)"), payload(language="shell", code="echo $((6 * 7))"))
    assert (python.output, shell.output) == (b"2\n", b"42\n")
    assert (python.id, shell.id, python.state) == ("1", "2", flame.TaskState.SUCCEED) and python.is_completed()


def test_flame_input_is_bytes(url: str) -> None:
    python = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
    text = payload(language="python", code=python, input=list(b"abc"))
    raw = payload(language="python", code=python, input=[255, 0, 10, 128])
    shell = payload(language="shell", code="cat; ls -A", input=[254, 255])
    nothing = payload(language="python", code="import sys; print(repr(sys.stdin.read()))", input=None)
    outputs = [task.output for task in invoke(url, text, raw, shell, nothing)]
    assert outputs == [b"cba", bytes([128, 10, 0, 255]), b"\xfe\xffmain.sh\n", b"''\n"]


def test_flame_tasks_share_nothing(url: str) -> None:
    code = "import os\nprint(sorted(os.listdir('.')))\nopen('left', 'w').close()\nopen('/tmp/left', 'x').close()"
    tasks = invoke(url, *[payload(language="python", code=code)] * 4, max_instances=2)
    assert {task.output for task in tasks} == {b"['main.py']\n"} and len({task.run_id for task in tasks}) == 4


def test_flame_tasks_run_at_once_up_to_max_instances(url: str) -> None:
    async def most(instances: int) -> int:
        running = top = 0

        class Counting(AsyncFireclay):
            def stream(self, *args: Any, **options: Any) -> Any:
                nonlocal running, top
                running += 1
                top = max(top, running)
                stream = super().stream(*args, **options)
                close = stream.aclose

                async def aclose() -> None:
                    nonlocal running
                    running -= 1
                    await close()

                stream.aclose = aclose  # type: ignore[method-assign]
                return stream

        async with Counting(url) as client:
            session = await flame.create_session("flmexec", client=client, max_instances=instances)
            await asyncio.gather(*(session.invoke(payload(language="shell", code="true")) for _ in range(6)))
        return top

    assert asyncio.run(most(2)) == 2
    assert asyncio.run(most(6)) == 6


def test_flame_a_failed_program_is_a_task_that_succeeded(url: str) -> None:
    [task] = invoke(url, payload(language="python", code="print('so far', flush=True); raise SystemExit(3)"))
    assert (task.state, task.output) == (flame.TaskState.SUCCEED, b"so far\n")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"not json", flame.FlameErrorCode.INVALID_ARGUMENT),
        (payload(language="python"), flame.FlameErrorCode.INVALID_ARGUMENT),
        (payload(language="cobol", code="1"), flame.FlameErrorCode.INVALID_ARGUMENT),
        (payload(language="python", code="1", input=[256]), flame.FlameErrorCode.INVALID_ARGUMENT),
        (payload(language="python", code="1", runtime="3.4"), flame.FlameErrorCode.INVALID_CONFIG),
        (payload(language="python", code='# /// script\n# dependencies = ["x"]\n# ///\n'), flame.FlameErrorCode.INVALID_CONFIG),
        (payload(language="python", code="x = bytearray(1 << 40)"), None),
        (payload(language="shell", code="head -c 800000000 /dev/zero | tail"), flame.FlameErrorCode.INTERNAL),
    ],
)
def test_flame_errors(url: str, said: bytes, code: Any) -> None:
    if code is None:
        # The program has a MemoryError, which is its own affair.
        assert invoke(url, said)[0].output == b""
        return
    with pytest.raises(flame.FlameError) as caught:
        invoke(url, said)
    assert caught.value.code == code


def test_flame_sessions(url: str) -> None:
    async def closed() -> None:
        async with AsyncFireclay(url) as client:
            session = await flame.create_session("flmexec", b"data", client=client)
            assert session.id.startswith("flmexec-") and session.common_data() == b"data"
            await session.close()
            await session.invoke(payload(language="shell", code="true"))

    with pytest.raises(flame.FlameError, match="not open") as caught:
        asyncio.run(closed())
    assert caught.value.code == flame.FlameErrorCode.INVALID_STATE
    for application, options in [("flmping", {}), ("flmexec", {"max_instances": 0})]:
        with pytest.raises(flame.FlameError):
            asyncio.run(flame.create_session(application, **options))  # type: ignore[arg-type]

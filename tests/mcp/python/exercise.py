"""What every client is put through, whichever version of the Python SDK it is: see current.py and older.py.

`call(tool, arguments, on_progress)` answers with the result as a plain dictionary in the protocol's own spelling.
"""

import anyio

PNG = "class P:\n    def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\nrest'\nP()"


def text(result):
    return "".join(part["text"] for part in result["content"] if part["type"] == "text")


async def exercise(name, tools, call, read):
    """Goes through all that the README promises of the tools."""
    names = [tool["name"] for tool in tools]
    assert names == [
        "run_code", "run_shell", "read_file", "write_file", "list_files", "list_packages",
        "create_session", "close_session", "list_sessions",
    ], names
    result = await call("run_code", {"code": "x = 20", "session": name, "a key of the client's": 1})
    assert not result.get("isError"), result
    result = await call("run_code", {"code": "x + 22", "session": name})
    assert text(result) == "[result]\n42", result
    assert result["structuredContent"]["outcome"] == "completed", result

    result = await call("run_code", {"code": "1/0", "session": name})
    assert result["isError"] and "ZeroDivisionError" in text(result), result
    result = await call("run_shell", {"command": "exit 4", "session": name})
    assert result["isError"] and "exit code 4" in text(result), result
    result = await call("run_code", {"language": "python"})
    assert result["isError"] and "code" in text(result), result

    result = await call("run_code", {"code": PNG, "session": name})
    images = [part for part in result["content"] if part["type"] == "image"]
    assert [(part["mimeType"], part["data"]) for part in images] == [("image/png", "iVBORw0KGgpyZXN0")], result

    result = await call("run_code", {"code": "open('left.txt', 'w').write('to be read')", "session": "fresh"})
    links = [part for part in result["content"] if part["type"] == "resource_link"]
    contents = await read(str(links[0]["uri"]))
    assert contents[0]["text"] == "to be read", contents

    result = await call("write_file", {"path": "d/in.txt", "text": "words", "session": name})
    assert not result.get("isError"), result
    result = await call("read_file", {"path": "d/in.txt", "session": name})
    assert text(result) == "words", result
    result = await call("list_files", {"recursive": True, "session": name})
    assert "d/in.txt  5 bytes" in text(result), result
    result = await call("list_packages", {"language": "javascript"})
    assert "fs" in result["structuredContent"]["packages"], result

    told = []

    async def on_progress(progress, total, message):
        told.append(message)

    steps = "import time\nfor i in range(3):\n    print('step', i, flush=True)\n    time.sleep(0.05)"
    result = await call("run_code", {"code": steps, "session": name}, on_progress)
    assert text(result) == "step 0\nstep 1\nstep 2\n", result
    assert "started" in told and any(message.startswith("step") for message in told), told

    # Taken back in the middle: the session is free again at once, and not after the minute that the code would take.
    begun = anyio.Event()

    async def when_begun(progress, total, message):
        if message.startswith("begun"):
            begun.set()

    sleeper = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    limits = {"timeout_ms": 60_000}
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            async def sleep():
                await call("run_code", {"code": sleeper, "session": name, "limits": limits}, when_begun)

            group.start_soon(sleep)
            await begun.wait()
            group.cancel_scope.cancel()
        result = await call("run_code", {"code": "x", "session": name})
        assert text(result) == "[result]\n20", result

    result = await call("close_session", {"session": name})
    assert not result.get("isError"), result

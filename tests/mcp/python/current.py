"""The Python SDK of the stateless protocol (mcp 2): both protocols over both transports. Arguments: the program, the address, the data."""

import sys

import anyio
from exercise import exercise
from mcp import Client, StdioServerParameters


async def main(program, address, data):
    pipes = StdioServerParameters(command=program, args=["--data", data, "mcp"])
    for way, server in ("http", f"{address}/mcp"), ("pipes", pipes):
        for mode in "auto", "legacy":
            async with Client(server, mode=mode) as client:
                plain = lambda model: model.model_dump(by_alias=True, mode="json")

                async def call(tool, arguments, on_progress=None):
                    return plain(await client.call_tool(tool, arguments, progress_callback=on_progress))

                async def read(uri):
                    return plain(await client.read_resource(uri))["contents"]

                tools = plain(await client.list_tools())["tools"]
                await exercise(f"python-2-{way}-{mode}", tools, call, read)
                print(f"ok: Python SDK 2, {way}, {mode}, speaking {client.protocol_version}")


anyio.run(main, *sys.argv[1:])

"""The Python SDK of the older protocol (mcp 1) over both transports. Arguments: the program, the address, the data."""

import sys

import anyio
from exercise import exercise
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl


async def main(program, address, data):
    pipes = StdioServerParameters(command=program, args=["--data", data, "mcp"])
    for way, transport in ("http", streamablehttp_client(f"{address}/mcp")), ("pipes", stdio_client(pipes)):
        async with transport as streams, ClientSession(*streams[:2]) as client:
            started = await client.initialize()
            plain = lambda model: model.model_dump(by_alias=True, mode="json")

            async def call(tool, arguments, on_progress=None):
                # It tells nobody when a call is given up, so that is done here, as its documentation has it.
                number = client._request_id
                try:
                    return plain(await client.call_tool(tool, arguments, progress_callback=on_progress))
                except anyio.get_cancelled_exc_class():
                    with anyio.CancelScope(shield=True):
                        await client.send_notification(cancelled(number))
                    raise

            async def read(uri):
                return plain(await client.read_resource(AnyUrl(uri)))["contents"]

            await exercise(f"python-1-{way}", plain(await client.list_tools())["tools"], call, read)
            print(f"ok: Python SDK 1, {way}, speaking {started.protocolVersion}")


def cancelled(number):
    from mcp.types import CancelledNotification, CancelledNotificationParams, ClientNotification

    params = CancelledNotificationParams(requestId=number, reason="enough")
    return ClientNotification(CancelledNotification(method="notifications/cancelled", params=params))


anyio.run(main, *sys.argv[1:])

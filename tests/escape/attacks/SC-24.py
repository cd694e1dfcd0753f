# id: SC-24
# title: change an address while the kernel looks at it
# stopped-by: netns
# limits: timeout=5s
# control: also loopback-up
# note: No wall reads memory behind a pointer; the namespace decides. In the control a neighbour listens.

import ctypes
import socket
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
own = socket.socket()
own.bind(("127.0.0.1", 0))
own.listen(100)
mine, others = own.getsockname()[1], 48222
address = ctypes.create_string_buffer(b"\x02\x00" + mine.to_bytes(2, "big") + bytes((127, 0, 0, 1)) + bytes(8))
stop = time.monotonic() + 0.5


def flip():
    pair = [port.to_bytes(2, "big") for port in (mine, others)]
    while time.monotonic() < stop:
        for port in pair:
            address[2:4] = port


threading.Thread(target=flip).start()
reached = set()
while time.monotonic() < stop and others not in reached:
    with socket.socket() as client:
        # A socket that was given the port that it looks for finds itself there.
        if libc.connect(client.fileno(), address, 16) == 0 and client.getpeername() != client.getsockname():
            reached.add(client.getpeername()[1])
            if client.getpeername()[1] == mine:
                own.accept()[0].close()
print(reached)
if others in reached:
    print("BREACH a listener outside")
print("HELD")

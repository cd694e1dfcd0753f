# id: NT-02
# title: names of the outside fail, and at once
# stopped-by: netns pivot-root
# control: only pivot-root verify-mounts private-image

import socket
import time

for name in ("pypi.org", "metadata.google.internal", "example.com.", "xn--nxasmq6b.example"):
    before = time.monotonic()
    try:
        print("BREACH", socket.getaddrinfo(name, 443))
    except OSError as error:
        print(name, error)
    if time.monotonic() - before > 0.5:
        print("BREACH it waited for", name)
print("HELD")

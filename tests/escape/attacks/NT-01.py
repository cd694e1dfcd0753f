# id: NT-01
# title: reach anything outside
# stopped-by: netns
# control: also loopback-up
# note: The control sees the host's interfaces, and sends nothing.

import errno
import socket
import time

names = [name for _, name in socket.if_nameindex()]
print(names)
if names != ["lo"]:
    # Nothing is sent where it would leave the machine.
    print("BREACH interfaces", names)
    raise SystemExit
for family, address in ((socket.AF_INET, "1.1.1.1"), (socket.AF_INET, "169.254.169.254"), (socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "2606:4700::1111")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as client:
            client.settimeout(0.2)
            before = time.monotonic()
            code = client.connect_ex((address, 443))
            if code != errno.ENETUNREACH or time.monotonic() - before > 0.1:
                print("BREACH", address, kind.name, errno.errorcode.get(code, code))
with open("/proc/net/route") as file:
    if len(file.readlines()) > 1:
        print("BREACH a route")
print("HELD")

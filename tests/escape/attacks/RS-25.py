# id: RS-25
# title: hundreds of connections that wait for an answer
# stopped-by: netns
# limits: timeout=5s
# control: also loopback-up
# note: Each would hold a port and an entry in the host's tables. In the control a neighbour answers, whether or not there is a route.

import errno
import select
import socket

sockets = []
for target in (("198.51.100.1", 443), ("127.0.0.1", 48222)):
    codes = {}
    for _ in range(300):
        one = socket.socket()
        one.setblocking(False)
        code = one.connect_ex(target)
        codes[code] = codes.get(code, 0) + 1
        sockets.append(one)
    print(target, {errno.errorcode.get(code): count for code, count in codes.items()})
    if target[1] == 443 and set(codes) != {errno.ENETUNREACH}:
        print("BREACH there is a way to", *target)
select.select([], sockets, [], 0.5)
peers = 0
for one in sockets:
    try:
        peers += one.getpeername()[1] == 48222 and one.getsockname() != one.getpeername()
    except OSError:
        pass
if peers:
    print("BREACH", peers, "listen outside")
print("HELD")

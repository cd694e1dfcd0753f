# id: RS-06
# title: memory hidden in socket buffers
# needs: cgroup
# stopped-by: create-cgroup join-cgroup
# control: only limits
# expect: outcome memory_exceeded
# expect: limits memory
# limits: timeout=5s memory=48MiB disk=1MiB

import socket

pairs, total = [], 0
while total < 128 << 20 and len(pairs) < 1900:
    one, other = socket.socketpair()
    one.setblocking(False)
    pairs.append((one, other))
    try:
        while True:
            total += one.send(b"x" * 65536)
    except BlockingIOError:
        pass
print("BREACH", total, len(pairs), flush=True)

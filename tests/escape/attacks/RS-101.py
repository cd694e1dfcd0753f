# id: RS-101
# title: memory hidden in pipes
# needs: cgroup
# stopped-by: create-cgroup join-cgroup
# control: only limits
# expect: outcome memory_exceeded
# expect: limits memory
# limits: timeout=5s memory=24MiB disk=1MiB

import fcntl
import os

pipes, total = [], 0
for _ in range(900):
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, 1031, 1 << 20)
    except OSError:
        pass
    os.set_blocking(writer, False)
    pipes.append((reader, writer))
    try:
        while True:
            total += os.write(writer, b"x" * 65536)
    except BlockingIOError:
        pass
    if total > 60 << 20:
        print("BREACH", total, len(pipes), flush=True)
        break
print(total)

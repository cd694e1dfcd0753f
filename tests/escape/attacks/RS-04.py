# id: RS-04
# title: memory hidden in nameless files
# needs: cgroup
# stopped-by: create-cgroup join-cgroup
# control: only limits
# expect: outcome memory_exceeded
# expect: limits memory
# expect: memory 160MiB
# limits: timeout=5s memory=64MiB disk=1MiB

import os

total = 0
for number in range(200):
    total += os.write(os.memfd_create(str(number)), b"x" * (1 << 20))
print("BREACH", total, flush=True)

# id: RS-03
# title: more heap than there is
# needs: cgroup
# stopped-by: create-cgroup join-cgroup
# control: only limits
# expect: outcome memory_exceeded
# expect: limits memory
# expect: memory 160MiB
# limits: timeout=5s memory=64MiB disk=1MiB

heap = []
for _ in range(16):
    heap.append(bytearray(b"x") * (1 << 24))
print("BREACH", len(heap) * 16, "MiB", flush=True)

# id: RS-100
# title: memory hidden in System V segments and shared mappings
# needs: cgroup
# stopped-by: create-cgroup join-cgroup
# control: only limits
# expect: outcome memory_exceeded
# expect: limits memory
# expect: memory 160MiB
# limits: timeout=5s memory=64MiB disk=1MiB

import ctypes
import mmap

libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
for number in range(10):
    segment = libc.shmget(0, 10 << 20, 0o1600)
    ctypes.memset(libc.shmat(segment, None, 0), 1, 10 << 20)
    shared = mmap.mmap(-1, 10 << 20)
    for at in range(0, 10 << 20, 4096):
        shared[at] = 1
    globals()[f"keep{number}"] = shared
print("BREACH", flush=True)

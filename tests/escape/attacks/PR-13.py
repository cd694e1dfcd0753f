# id: PR-13
# title: flood the kernel's log with faults, and leave what they leave
# stopped-by: lower-limits

import ctypes
import os
import resource

most = resource.getrlimit(resource.RLIMIT_CORE)[1]
# One byte is none, and keeps the kernel from starting a program for it (core(5)).
if not 0 <= most <= 1:
    print("BREACH core files of", most, "bytes")
for _ in range(100):
    if os.fork() == 0:
        ctypes.string_at(0)
    os.wait()
if any(name.startswith("core") for name in os.listdir(".")):
    print("BREACH a core file")
print("HELD")

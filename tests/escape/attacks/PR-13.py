# id: PR-13
# title: flood the kernel's log with faults
# control: none it would flood the host's log; the kernel limits the rate

import ctypes
import os

for _ in range(100):
    if os.fork() == 0:
        ctypes.string_at(0)
    os.wait()
if any(name.startswith("core") for name in os.listdir(".")):
    print("BREACH a core file")
print("HELD")

# id: SC-03
# title: samples of the kernel (perf_event_open)
# stopped-by: seccomp

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
buffer = ctypes.addressof(ctypes.c_char.from_buffer(page))
me = os.getpid()
CALLS = [
    ("perf_event_open", 298, (buffer, 0, -1, -1, 0), "EPERM"),
    ("perf_event_open null", 298, (0, 0, -1, -1, 0), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-19
# title: options of a process
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
    ("PR_SET_MM", 157, (35, 1, 0, 0, 0), "EPERM"),
    ("PR_SET_SECCOMP", 157, (22, 2, 0, 0, 0), "EPERM"),
    ("PR_SET_PTRACER", 157, (0x59616D61, -1, 0, 0, 0), "EPERM"),
    ("PR_SET_SECUREBITS", 157, (28, 0, 0, 0, 0), "EPERM"),
    ("PR_CAP_AMBIENT raise", 157, (47, 2, 21, 0, 0), "EPERM"),
    ("PR_SET_SYSCALL_USER_DISPATCH", 157, (59, 0, 0, 0, 0), "EPERM"),
    ("PR_SET_TSC", 157, (26, 1, 0, 0, 0), "EPERM"),
    ("PR_SCHED_CORE", 157, (62, 0, 0, 0, buffer), "EPERM"),
    ("PR_SET_MEMORY_MERGE", 157, (67, 1, 0, 0, 0), "EPERM"),
    ("PR_SET_SPECULATION", 157, (53, 0, 0, 0, 0), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

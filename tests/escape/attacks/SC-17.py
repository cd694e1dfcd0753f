# id: SC-17
# title: the host's clock
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
    ("clock_settime", 227, (0, buffer), "EPERM"),
    ("clock_settime nonsense", 227, (99, buffer), "EPERM"),
    ("settimeofday", 164, (0, 0), "EPERM"),
    ("adjtimex", 159, (buffer,), "EPERM"),
    ("clock_adjtime", 305, (0, buffer), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-101
# title: asynchronous I/O, a counter that the whole host shares
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
    ("io_setup", 206, (8, buffer), "ENOSYS"),
    ("io_submit", 209, (0, 0, 0), "ENOSYS"),
    ("io_getevents", 208, (0, 0, 0, 0, 0), "ENOSYS"),
    ("io_destroy", 207, (0,), "ENOSYS"),
    ("io_pgetevents", 333, (0, 0, 0, 0, 0, 0), "ENOSYS"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-06
# title: kernel crypto sockets (AF_ALG)
# stopped-by: seccomp
# note: Few kernels have the family; the control shows by a raw local socket that the row is asked at all.

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
buffer = ctypes.addressof(ctypes.c_char.from_buffer(page))
me = os.getpid()
CALLS = [
    ("AF_ALG", 41, (38, 5, 0), "EAFNOSUPPORT"),
    ("AF_ALG pair", 53, (38, 5, 0, buffer), "EAFNOSUPPORT"),
    ("AF_UNIX raw", 41, (1, 3, 0), "EPERM"),
    ("AF_INET raw", 41, (2, 3, 1), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-10
# title: family in the low half, noise in the high half
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
    ("AF_ALG", 41, ((1 << 32) | 38, 5, 0), "EAFNOSUPPORT"),
    ("VSOCK", 41, ((7 << 32) | 40, 1, 0), "EAFNOSUPPORT"),
    ("XFRM", 41, (16, 3, (1 << 32) | 6), "EPERM"),
    ("raw", 41, (2, (1 << 32) | 3, 1), "EPERM"),
    ("NEWUSER", 56, ((1 << 32) | 0x10000000 | 17, 0, 0, 0, 0), "EPERM"),
    ("TIOCSTI", 16, (0, (1 << 32) | 0x5412, buffer), "EPERM"),
    ("PTRACER", 157, ((1 << 32) | 0x59616D61, -1, 0, 0, 0), "EPERM"),
    ("F_SETLEASE", 72, (0, (1 << 32) | 1024, 0), "EPERM"),
    ("FIFO", 144, (0, (1 << 32) | 1, buffer), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

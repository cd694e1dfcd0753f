# id: SC-07
# title: netlink beyond routes, RxRPC
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
    ("RXRPC", 41, (33, 2, 0), "EAFNOSUPPORT"),
    ("XFRM", 41, (16, 3, 6), "EPERM"),
    ("NETFILTER", 41, (16, 3, 12), "EPERM"),
    ("GENERIC", 41, (16, 3, 16), "EPERM"),
    ("SOCK_DIAG", 41, (16, 3, 4), "EPERM"),
    ("AUDIT", 41, (16, 3, 9), "EPERM"),
    ("UEVENT", 41, (16, 3, 15), "EPERM"),
    ("SELINUX", 41, (16, 3, 7), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

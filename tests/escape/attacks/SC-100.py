# id: SC-100
# title: leases and watches on files that are shared, filters on sockets
# stopped-by: seccomp

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
buffer = ctypes.addressof(ctypes.c_char.from_buffer(page))
me = os.getpid()
image = os.open("/usr/bin/env", os.O_RDONLY)
root = os.open("/", os.O_RDONLY)
socket = libc.socket(2, 1, 0)
CALLS = [
    ("F_SETLEASE", 72, (image, 1024, 0), "EPERM"),
    ("F_NOTIFY", 72, (root, 1026, 2), "EPERM"),
    ("SO_ATTACH_FILTER", 54, (socket, 1, 26, buffer, 16), "EPERM"),
    ("SO_ATTACH_BPF", 54, (socket, 1, 50, buffer, 4), "EPERM"),
    ("SO_ATTACH_REUSEPORT_CBPF", 54, (socket, 1, 51, buffer, 16), "EPERM"),
    ("cachestat", 451, (image, buffer, buffer, 0), "EPERM"),
    ("sync", 162, (), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

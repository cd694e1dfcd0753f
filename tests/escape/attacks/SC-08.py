# id: SC-08
# title: sockets to the hypervisor (AF_VSOCK)
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
    ("VSOCK stream", 41, (40, 1, 0), "EAFNOSUPPORT"),
    ("VSOCK datagram", 41, (40, 2, 0), "EAFNOSUPPORT"),
    ("VSOCK seqpacket", 41, (40, 5, 0), "EAFNOSUPPORT"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-11
# title: pages of the image into pipes and sockets (splice, tee, vmsplice, sendfile, zero copy)
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
reader, writer = os.pipe()
socket = libc.socket(2, 1, 0)
enabled = ctypes.c_int(1)
one = ctypes.addressof(enabled)
CALLS = [
    ("splice", 275, (image, 0, writer, 0, 64, 0), "ENOSYS"),
    ("tee", 276, (reader, writer, 64, 0), "ENOSYS"),
    ("vmsplice", 278, (writer, buffer, 1, 0), "ENOSYS"),
    ("sendfile", 40, (writer, image, 0, 64), "EINVAL"),
    ("SO_ZEROCOPY", 54, (socket, 1, 60, one, 4), "EOPNOTSUPP"),
    ("TCP_ULP", 54, (socket, 6, 31, one, 4), "ENOPROTOOPT"),
    ("UDP_ENCAP", 54, (socket, 17, 100, one, 4), "ENOPROTOOPT"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

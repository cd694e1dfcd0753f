# id: SC-102
# title: modules of security, other processes' memory
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
    ("lsm_list_modules", 461, (buffer, buffer, 0), "EPERM"),
    ("lsm_get_self_attr", 459, (100, buffer, buffer, 0), "EPERM"),
    ("lsm_set_self_attr", 460, (100, buffer, 16, 0), "EPERM"),
    ("process_mrelease", 448, (-1, 0), "ENOSYS"),
    ("vhangup", 153, (), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-18
# title: become a notifier or a filter of one's children
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
    ("NEW_LISTENER", 317, (1, 8, buffer), "EPERM"),
    ("FILTER", 317, (1, 0, buffer), "EPERM"),
    ("null", 317, (1, 0, 0), "EPERM"),
    ("NOTIF_SIZES", 317, (3, 0, buffer), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

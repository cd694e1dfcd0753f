# id: SC-20
# title: watch mounts, open by handle
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
    ("fanotify_init", 300, (0x200, 0), "EPERM"),
    ("fanotify_mark", 301, (-1, 0, 0, 0, 0), "EPERM"),
    ("lookup_dcookie", 212, (1, buffer, 4096), "EPERM"),
    ("name_to_handle_at", 303, (-100, buffer, buffer, buffer, 0), "EPERM"),
    ("open_by_handle_at", 304, (-100, buffer, 0), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

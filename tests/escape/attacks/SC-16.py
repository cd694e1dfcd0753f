# id: SC-16
# title: rare doors into memory management
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
    ("memfd_secret", 447, (0,), "ENOSYS"),
    ("modify_ldt", 154, (0, buffer, 64), "ENOSYS"),
    ("remap_file_pages", 216, (buffer, 4096, 0, 0, 0), "ENOSYS"),
    ("mbind", 237, (buffer, 4096, 0, 0, 0, 0), "ENOSYS"),
    ("migrate_pages", 256, (0, 0, 0, 0), "ENOSYS"),
    ("move_pages", 279, (0, 0, 0, 0, 0, 0), "ENOSYS"),
    ("get_mempolicy", 239, (0, 0, 0, 0, 0), "ENOSYS"),
    ("MERGEABLE", 28, (buffer, 4096, 12), "EINVAL"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-13
# title: mounts by descriptor
# stopped-by: seccomp
# note: Calls that this kernel does not have are refused all the same.

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
buffer = ctypes.addressof(ctypes.c_char.from_buffer(page))
me = os.getpid()
path = ctypes.create_string_buffer(b"/tmp")
text = ctypes.addressof(path)
CALLS = [
    ("fsopen", 430, (text, 1), "EPERM"),
    ("open_tree", 428, (-100, text, 0), "EPERM"),
    ("open_tree clone", 428, (-100, text, 1), "EPERM"),
    ("move_mount", 429, (-1, text, -1, text, 4), "EPERM"),
    ("fsconfig", 431, (-1, 6, 0, 0, 0), "EPERM"),
    ("fsmount", 432, (-1, 0, 0), "EPERM"),
    ("fspick", 433, (-100, text, 0), "EPERM"),
    ("mount_setattr", 442, (-100, text, 0, buffer, 32), "EPERM"),
    ("statmount", 457, (buffer, buffer, 4096, 0), "EPERM"),
    ("listmount", 458, (buffer, buffer, 8, 0), "EPERM"),
    ("open_tree_attr", 467, (-100, text, 0, buffer, 32), "EPERM"),
    ("listns", 470, (buffer, buffer, 8, 0), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

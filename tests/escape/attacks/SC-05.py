# id: SC-05
# title: keyrings, a dead drop between sandboxes
# stopped-by: seccomp

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
buffer = ctypes.addressof(ctypes.c_char.from_buffer(page))
me = os.getpid()
texts = [ctypes.create_string_buffer(text) for text in (b"user", b"canary")]
kind, name = map(ctypes.addressof, texts)
CALLS = [
    ("add_key", 248, (kind, name, name, 4, -3), "ENOSYS"),
    ("add_key user", 248, (kind, name, name, 4, -4), "ENOSYS"),
    ("request_key", 249, (kind, name, 0, -3), "ENOSYS"),
    ("keyctl id", 250, (0, -3, 0), "ENOSYS"),
    ("keyctl join", 250, (1, name), "ENOSYS"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

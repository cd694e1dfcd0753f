# id: SC-12
# title: hands in another process
# stopped-by: seccomp

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
buffer = ctypes.addressof(ctypes.c_char.from_buffer(page))
me = os.getpid()
child = os.fork()
if child == 0:
    os.read(os.pipe()[0], 1)
pidfd = os.pidfd_open(child)
CALLS = [
    ("ptrace", 101, (16, child, 0, 0), "EPERM"),
    ("traceme", 101, (0, 0, 0, 0), "EPERM"),
    ("process_vm_readv", 310, (child, buffer, 1, buffer, 1, 0), "EPERM"),
    ("process_vm_writev", 311, (child, buffer, 1, buffer, 1, 0), "EPERM"),
    ("kcmp", 312, (me, child, 0, 0, 0), "EPERM"),
    ("pidfd_getfd", 438, (pidfd, 1, 0), "EPERM"),
    ("process_madvise", 440, (pidfd, buffer, 0, 21, 0), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

# id: SC-15
# title: administration of the machine
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
    ("init_module", 175, (buffer, 4096, buffer), "EPERM"),
    ("finit_module", 313, (-1, buffer, 0), "EPERM"),
    ("delete_module", 176, (buffer, 0), "EPERM"),
    ("kexec_load", 246, (0, 0, 0, 0), "EPERM"),
    ("kexec_file_load", 320, (-1, -1, 0, 0, 0), "EPERM"),
    ("reboot", 169, (0, 0, 0, 0), "EPERM"),
    ("swapon", 167, (buffer, 0), "EPERM"),
    ("swapoff", 168, (buffer,), "EPERM"),
    ("acct", 163, (buffer,), "EPERM"),
    ("quotactl", 179, (0xFFFFFFFF, 0, 0, 0), "EPERM"),
    ("quotactl_fd", 443, (-1, 0, 0, 0), "EPERM"),
    ("syslog", 103, (10, 0, 0), "EPERM"),
    ("syslog console", 103, (6, 0, 0), "EPERM"),
]
for name, number, arguments, expected in CALLS:
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    code = errno.errorcode.get(ctypes.get_errno())
    print(name, answer, code)
    if answer != -1 or ctypes.get_errno() != getattr(errno, expected):
        print("BREACH", name, answer, code)
print("HELD")

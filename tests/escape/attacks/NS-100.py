# id: NS-100
# title: children that would be init's, or share more than they should
# stopped-by: seccomp

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
PARENT = 0x8000
me = os.getpid()
for flags in (PARENT | 17, PARENT, (1 << 32) | PARENT | 17):
    answer = libc.syscall(56, ctypes.c_ulong(flags), 0, 0, 0, 0)
    if answer == 0:
        os._exit(0)
    print(hex(flags), answer, errno.errorcode.get(ctypes.get_errno()), flush=True)
    if answer > 0:
        print("BREACH a child beside oneself", flush=True)
print("HELD", flush=True)

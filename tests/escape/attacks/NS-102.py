# id: NS-102
# title: another personality
# stopped-by: seccomp

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
for name, value in {"no randomness": 0x0040000, "read implies exec": 0x0400000, "32 bit": 0x0000008, "zero page": 0x0100000, "uname26": 0x0020000}.items():
    if libc.personality(ctypes.c_ulong(value)) != -1:
        print("BREACH", name)
    libc.personality(ctypes.c_ulong(0))
print("HELD")

# id: FS-105
# title: files by handle instead of by path (the Shocker)
# stopped-by: seccomp

import ctypes
import errno
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
handle = ctypes.create_string_buffer(struct.pack("Ii", 64, 0) + bytes(64))
mount = ctypes.c_int()
for path in (b"/", b"/tmp", b"/usr/bin/env", b"/proc"):
    if libc.name_to_handle_at(-100, path, handle, ctypes.byref(mount), 0) == 0:
        print("BREACH a handle of", path)
    print(errno.errorcode.get(ctypes.get_errno()))
root = os.open("/", os.O_RDONLY)
for number in range(1, 64):
    shocker = ctypes.create_string_buffer(struct.pack("IiII", 8, 1, number, 0))
    if libc.open_by_handle_at(root, shocker, 0) >= 0:
        print("BREACH inode", number)
print("HELD")

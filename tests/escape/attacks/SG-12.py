# id: SG-12
# title: ask whether a page is in the page cache
# stopped-by: seccomp
# note: Which pages are cached tells what neighbours do. The kernel itself refuses it for files of others by now; the control asks of
# note: an own file. Timing of a read remains, and is documented.

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
with open("/workspace/own", "wb") as file:
    file.write(bytes(8192))
for path in ("/usr/bin/env", "/workspace/own"):
    fd = os.open(path, os.O_RDONLY)
    try:
        print("BREACH preadv2", path, os.preadv(fd, [bytearray(4096)], 0, 8))
    except OSError as error:
        print(error)
    span, counts = (ctypes.c_uint64 * 2)(0, 4096), (ctypes.c_uint64 * 5)()
    if libc.syscall(451, fd, span, counts, 0) == 0:
        print("BREACH cachestat", path, list(counts))
print("HELD")

# id: RS-16
# title: pinned memory, message queues, priorities
# stopped-by: lower-limits seccomp

import ctypes
import mmap

libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
if libc.mlockall(3) == 0:
    print("BREACH mlockall")
if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(4096)) == 0:
    print("BREACH mlock")
queue = libc.syscall(240, b"canary", 0o102, 0o600, None)
if queue >= 0:
    print("BREACH mq_open")
if libc.mmap(None, ctypes.c_size_t(1 << 21), 3, 0x22 | 0x40000, -1, ctypes.c_long(0)) != -1:
    print("BREACH huge pages")
print("HELD")

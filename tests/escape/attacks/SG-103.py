# id: SG-103
# title: System V memory, semaphores and queues of a neighbour
# stopped-by: ipcns

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
KEY, CREATE = 0x0CA7A27, 0o1000
segment = libc.shmget(KEY, 0, 0)
if segment >= 0:
    libc.shmat.restype = ctypes.c_void_p
    print("BREACH", ctypes.string_at(libc.shmat(segment, None, 0o10000), 60).rstrip(b"\0"))
info = ctypes.create_string_buffer(256)
for name, most in (("shmctl", libc.shmctl(0, 14, info)), ("semctl", libc.semctl(0, 0, 19, info)), ("msgctl", libc.msgctl(0, 12, info))):
    print(name, most)
for index in range(16):
    if libc.shmctl(index, 13, info) >= 0:
        print("BREACH segment", index)
# One of its own: it must be gone with the sandbox.
own = libc.shmget(KEY + 1, 4096, CREATE | 0o666)
print("own", own)
print("HELD")

# id: RS-20
# title: objects of the kernel: epolls, events, timers, watches
# stopped-by: lower-limits

import ctypes
import os
import resource
import select

libc = ctypes.CDLL(None, use_errno=True)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
timers = 0
for _ in range(5000):
    if libc.syscall(222, 1, None, ctypes.byref(ctypes.c_int())) != 0:
        break
    timers += 1
print("timers", timers)
if timers > 4096:
    print("BREACH timers", timers)
watches = 0
while libc.inotify_init1(0) >= 0 and watches < 1000:
    watches += 1
print("inotify", watches)
if watches > 512:
    print("BREACH inotify", watches)
objects = []
try:
    while len(objects) < 6000:
        objects.append(select.epoll())
except OSError as error:
    print(error)
if len(objects) > 4096:
    print("BREACH epoll", len(objects))
print("HELD", flush=True)
os._exit(0)

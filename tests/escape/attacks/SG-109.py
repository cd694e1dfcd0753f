# id: SG-109
# title: games with a handle on init
# stopped-by: seccomp become-undumpable landlock
# control: only seccomp
# note: The control gets as far as the kernel's own refusal, which is not the filter's.

import ctypes
import errno
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
try:
    pidfd = os.pidfd_open(1)
except OSError as error:
    print(error)
    pidfd = -1
for fd in range(64):
    if libc.syscall(438, pidfd, fd, 0) >= 0:
        print("BREACH stole", fd)
for name, number, arguments in (("kcmp", 312, (os.getpid(), os.getpid(), 0, 0, 0)), ("process_madvise", 440, (-1, 0, 0, 21, 0))):
    libc.syscall(number, *map(ctypes.c_long, arguments))
    if ctypes.get_errno() != errno.EPERM:
        print("BREACH", name, "asked the kernel")
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
    try:
        signal.pidfd_send_signal(pidfd, number)
        print("sent", number)
    except OSError as error:
        print(error)
print("HELD")

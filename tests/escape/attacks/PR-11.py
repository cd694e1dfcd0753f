# id: PR-11
# title: a way into the namespaces of init, by /proc and by pidfd
# stopped-by: become-undumpable landlock seccomp

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
    try:
        print("BREACH", name, os.readlink("/proc/1/ns/" + name))
    except OSError as error:
        print(name, error.strerror)
for target in (1, os.getpid()):
    try:
        pidfd = os.pidfd_open(target)
    except OSError as error:
        print(target, error)
        continue
    answer = libc.setns(pidfd, 0x20000)
    print(target, answer, errno.errorcode.get(ctypes.get_errno()))
    if answer == 0:
        print("BREACH setns by pidfd of", target)
print("HELD")

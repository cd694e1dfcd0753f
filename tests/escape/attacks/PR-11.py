# id: PR-11
# title: a way into the namespaces of init, by /proc and by pidfd
# stopped-by: seccomp become-undumpable landlock
# note: EINVAL for no flags shows that the kernel, and not the filter, was asked.

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
    answers = [(libc.setns(pidfd, flags), ctypes.get_errno()) for flags in (0, 0x20000, 0x10000000)]
    print(target, answers)
    if answers[0][1] != errno.EPERM or any(answer == 0 for answer, _ in answers):
        print("BREACH setns by pidfd of", target)
print("HELD")

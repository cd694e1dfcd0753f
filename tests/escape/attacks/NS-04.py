# id: NS-04
# title: join a namespace by /proc
# stopped-by: seccomp
# control: only seccomp drop-capabilities
# note: Joining one's own user namespace is refused by the kernel with EINVAL: it then understood the request.

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
for process in ("self", "1"):
    for name in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
        try:
            fd = os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY)
        except OSError as error:
            print(process, name, error)
            continue
        if process == "1":
            print("BREACH a handle on a namespace of init", name)
        answer = libc.setns(fd, 0)
        code = ctypes.get_errno()
        print(process, name, answer, errno.errorcode.get(code))
        if answer == 0 or code == errno.EINVAL:
            print("BREACH setns", name)
print("HELD")

# id: NS-07
# title: become another user
# stopped-by: seccomp forbid-namespaces landlock
# note: In the control it becomes root of a user namespace of its own.

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
ACTS = {
    "setuid": lambda: os.setuid(0), "setgid": lambda: os.setgid(0), "setgroups": lambda: os.setgroups([0, 27]),
    "setresuid": lambda: os.setresuid(65534, 65534, 0), "setreuid": lambda: os.setreuid(0, 0), "setegid": lambda: os.setegid(0),
    "initgroups": lambda: os.initgroups("root", 0),
}
for own_namespace in (False, True):
    if own_namespace:
        uid = os.getuid()
        if libc.unshare(0x10000000) != 0:
            break
        with open("/proc/self/uid_map", "w") as file:
            file.write(f"0 {uid} 1")
    for name, act in ACTS.items():
        try:
            act()
            print("BREACH", name, os.getresuid(), os.getgroups())
        except OSError as error:
            print(name, error.strerror)
# These two never fail: what they return is the id that was.
libc.setfsuid(0)
libc.setfsgid(0)
if libc.setfsuid(-1) == 0 or libc.setfsgid(-1) == 0:
    print("BREACH setfsuid")
print("HELD")

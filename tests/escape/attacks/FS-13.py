# id: FS-13
# title: file capabilities
# stopped-by: drop-capabilities
# note: In the control the file gets a capability, in a user namespace of the attacker's own.
# control: only seccomp forbid-namespaces landlock

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
VALUES = {
    "security.capability": b"\x00\x00\x00\x02" + b"\xff" * 8 + b"\x00" * 8,
    "trusted.overlay.opaque": b"y",
}
open("/workspace/x", "w").close()
for own_namespace in (False, True):
    if own_namespace:
        uid, gid = os.getuid(), os.getgid()
        if libc.unshare(0x10020000) != 0:
            break
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open("/proc/self/" + name, "w") as file:
                file.write(text)
    for name, value in VALUES.items():
        try:
            os.setxattr("/workspace/x", name, value)
            print("BREACH", name)
        except OSError as error:
            print(name, error)
print("HELD")

# id: FS-03
# title: the classic break out of a chroot
# stopped-by: seccomp forbid-namespaces
# note: chroot needs a capability, which a user namespace of one's own would give.

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
os.makedirs("/workspace/jail", exist_ok=True)
fd = os.open("/", os.O_RDONLY)
if libc.unshare(0x10000000) == 0:
    print("a user namespace")
try:
    os.chroot("/workspace/jail")
    os.fchdir(fd)
    os.chdir("../../..")
    print("BREACH chroot", os.listdir("."))
except OSError as error:
    print("chroot", error)
print("HELD")

# id: NS-02
# title: namespaces by raw clone and clone3
# stopped-by: seccomp forbid-namespaces

import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
KINDS = {"user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000, "pid": 0x20000000, "cgroup": 0x02000000, "time": 0x80}
for name, flag in KINDS.items():
    flags = flag | KINDS["user"]
    arguments = ctypes.create_string_buffer(struct.pack("11Q", flags, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))
    calls = [("clone3", 435, (ctypes.addressof(arguments), 88)), ("unshare", 272, (flag,))]
    if name != "time":
        calls.append(("clone", 56, (flags | 17, 0, 0, 0, 0)))
    for call, number, words in calls:
        if call == "unshare" and os.fork():
            os.wait()
            continue
        answer = libc.syscall(number, *map(ctypes.c_ulong, words))
        if answer >= 0 and not (call != "unshare" and answer == 0):
            print("BREACH", call, name, flush=True)
        if call == "unshare" or answer == 0:
            os._exit(0)
        print(call, name, answer, os.strerror(ctypes.get_errno()), flush=True)
print("HELD")

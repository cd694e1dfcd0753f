# id: NS-09
# title: system calls by the 32-bit door
# stopped-by: seccomp
# note: The filter kills whoever uses it. Where the kernel has no such door the child faults, and the control shows nothing.

import ctypes
import mmap
import os

CALLS = {"getpid": 20, "socketcall": 102, "unshare": 310, "socket": 359, "ptrace": 26}
for name, number in CALLS.items():
    pid = os.fork()
    if pid == 0:
        # mov eax, number; xor ebx, ebx; xor ecx, ecx; int 0x80; ret
        code = b"\xb8" + number.to_bytes(4, "little") + b"\x31\xdb\x31\xc9\xcd\x80\xc3"
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        act = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        act()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    print(name, status)
    if not os.WIFSIGNALED(status):
        print("BREACH", name)
print("HELD")

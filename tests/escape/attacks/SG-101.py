# id: SG-101
# title: memory and descriptors of a sibling
# stopped-by: seccomp
# note: A sibling is of the same sandbox; but the calls that reach it are those that reach further when another wall has a hole.

import ctypes
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
secret = ctypes.create_string_buffer(b"secret", 4096)
child = os.fork()
if child == 0:
    os.read(os.pipe()[0], 1)
answer = ctypes.create_string_buffer(16)
here, there = struct.pack("QQ", ctypes.addressof(answer), 6), struct.pack("QQ", ctypes.addressof(secret), 6)
if libc.process_vm_readv(child, here, 1, there, 1, 0) > 0:
    print("BREACH process_vm_readv", answer.value)
if libc.ptrace(16, child, 0, 0) == 0:
    print("BREACH ptrace")
pidfd = os.pidfd_open(child)
if libc.syscall(438, pidfd, 0, 0) >= 0:
    print("BREACH pidfd_getfd")
if libc.syscall(312, os.getpid(), child, 1, 0, 0) >= 0:
    print("BREACH kcmp")
os.kill(child, 9)
print("HELD")

# id: NS-08
# title: capabilities: ambient, inheritable, bounding set, securebits
# stopped-by: seccomp drop-capabilities
# note: A program that is not root loses what init has by being executed; the control shows the bounding set that init did not empty.

import ctypes
import struct

libc = ctypes.CDLL(None, use_errno=True)
for capability in range(41):
    if libc.prctl(47, 2, capability, 0, 0) == 0:
        print("BREACH ambient", capability)
    if libc.prctl(23, capability, 0, 0, 0) == 1:
        print("BREACH bounding set", capability)
header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0))
everything = ctypes.create_string_buffer(struct.pack("6I", *[0xFFFFFFFF] * 6))
if libc.capset(header, everything) == 0:
    print("BREACH capset")
if libc.prctl(28, 0, 0, 0, 0) == 0:
    print("BREACH securebits")
print("HELD")

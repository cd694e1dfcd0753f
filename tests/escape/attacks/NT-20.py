# id: NT-20
# title: change the network by netlink and by ioctl
# stopped-by: seccomp forbid-namespaces landlock
# note: In the control it has a network of its own, in a user namespace of its own.

import ctypes
import fcntl
import os
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)
for own_namespace in (False, True):
    if own_namespace and libc.unshare(0x50000000) != 0:
        break
    requests = {
        # RTM_NEWLINK of loopback: up. RTM_NEWADDR: 10.9.9.9. RTM_NEWLINK with create: nameless.
        "link up": struct.pack("IHHII BxHiII", 32, 16, 5, 1, 0, 0, 0, 1, 1 ^ own_namespace, 0xFFFFFFFF),
        "address": struct.pack("IHHII BBBBI HH4s HH4s", 40, 20, 0x405, 2, 0, 2, 8, 0, 0, 1, 8, 1, bytes((10, 9, 9, 9)), 8, 2, bytes((10, 9, 9, 9))),
    }
    for name, request in requests.items():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
            netlink.send(request)
            answer = netlink.recv(4096)
        code = -struct.unpack_from("i", answer, 16)[0]
        print(name, os.strerror(code) if code else "done")
        if code == 0:
            print("BREACH", name)
    with socket.socket() as control:
        for name, request in (("SIOCSIFFLAGS", 0x8914), ("SIOCADDRT", 0x890B), ("SIOCSIFADDR", 0x8916), ("SIOCSIFMTU", 0x8922)):
            try:
                fcntl.ioctl(control, request, struct.pack("16sI20x", b"lo", 1500).ljust(120, b"\0"))
                print("BREACH", name)
            except OSError as error:
                print(name, error.strerror)
print("HELD")

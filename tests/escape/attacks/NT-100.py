# id: NT-100
# title: protocols beside TCP and UDP
# stopped-by: seccomp

import errno
import socket

for family in (socket.AF_INET, socket.AF_INET6):
    for name, kind, protocol in (
        ("ping", 2, 1), ("ping 6", 2, 58), ("raw", 3, 255), ("SCTP", 1, 132), ("SCTP seqpacket", 5, 132), ("DCCP", 6, 33), ("MPTCP", 1, 262),
        ("UDP-Lite", 2, 136), ("L2TP", 2, 115), ("SMC", 1, 256), ("ESP", 3, 50), ("packet", 10, 3),
    ):
        try:
            socket.socket(family, kind, protocol).close()
            print("BREACH", name)
        except OSError as error:
            print(name, error.strerror)
            if error.errno not in (errno.EPROTONOSUPPORT, errno.EPERM):
                print("BREACH the kernel was asked for", name)
print("HELD")

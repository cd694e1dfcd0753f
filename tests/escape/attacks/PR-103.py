# id: PR-103
# title: type into the terminal of whoever watches
# stopped-by: seccomp
# note: Streams are pipes here; that the kernel calls them no terminal (ENOTTY) shows that the request reached it.

import errno
import fcntl
import os

REQUESTS = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCCONS": 0x541D, "TIOCSETD": 0x5423}
for path in ("/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts/0", "/dev/tty0"):
    try:
        os.open(path, os.O_RDWR)
        print("BREACH", path)
    except OSError as error:
        print(path, error.strerror)
for name, request in REQUESTS.items():
    for high in (0, 1 << 32):
        for fd in (0, 1, 2):
            try:
                fcntl.ioctl(fd, request | high if not high else request, b"x")
                print("BREACH", name)
            except OSError as error:
                if error.errno != errno.EPERM:
                    print("BREACH", name, fd, error.strerror)
print("HELD")

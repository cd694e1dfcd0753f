# id: FS-102
# title: nameless files, linked into places by descriptor
# stopped-by: landlock mount-root mount-directories
# control: only pivot-root verify-mounts mount-directories landlock

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
for place in (os.environ["HOME"], "/tmp"):
    fd = os.open(place, os.O_TMPFILE | os.O_RDWR, 0o666)
    os.write(fd, b"x")
    name = f"/proc/self/fd/{fd}".encode()
    for target in (b"/workspace/PWNED", b"/dev/shm/PWNED", b"/etc/PWNED", b"/PWNED", b"/usr/bin/PWNED"):
        for source, flags in ((name, 0x400), (b"", 0x1000)):
            if libc.linkat(fd if not source else -100, source, -100, target, flags) == 0:
                print("BREACH", target)
for place in ("/usr", "/etc", "/", "/dev", "/proc"):
    try:
        os.open(place, os.O_TMPFILE | os.O_RDWR, 0o666)
        print("BREACH", place)
    except OSError as error:
        print(place, error)
print("HELD")

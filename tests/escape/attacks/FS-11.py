# id: FS-11
# title: make and open device nodes
# stopped-by: seccomp landlock
# note: A whiteout is a device that the kernel lets anyone make; others it refuses in a user namespace whoever asks.

import os
import stat

for name, kind, device in (("mem", stat.S_IFCHR, (1, 1)), ("sda", stat.S_IFBLK, (8, 0)), ("null", stat.S_IFCHR, (1, 3)), ("white", stat.S_IFCHR, (0, 0))):
    for place in ("/workspace/", "/tmp/", "/dev/shm/", "/dev/"):
        try:
            os.mknod(place + name, kind | 0o666, os.makedev(*device))
            print("BREACH", place + name)
            os.close(os.open(place + name, os.O_RDWR))
            print("BREACH opened", place + name)
        except OSError as error:
            print(error)
print("HELD")

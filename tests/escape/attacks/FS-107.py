# id: FS-107
# title: attributes that an overlay, a file system or a security module would obey
# stopped-by: mount-root
# control: only pivot-root verify-mounts landlock private-image

import os

for path in ("/usr/bin/env", "/etc", "/"):
    for name in ("user.overlay.opaque", "user.overlay.redirect", "user.x", "trusted.x", "security.x"):
        try:
            os.setxattr(path, name, b"/")
            print("BREACH", path, name)
        except OSError as error:
            print(path, name, error.strerror)
    try:
        print("attributes", path, os.listxattr(path))
    except OSError as error:
        print(error.strerror)
# FS_IOC_SETFLAGS: immutable files would outlive their sandbox's cleaning, if it cleaned file by file.
import array
import fcntl

with open("/workspace/immutable", "w") as file:
    try:
        fcntl.ioctl(file, 0x40086602, array.array("l", [0x10]))
        print("BREACH immutable")
    except OSError as error:
        print(error.strerror)
print("HELD")

# id: FS-06
# title: overwrite the program that runs (CVE-2019-5736)
# stopped-by: mount-root landlock
# control: only pivot-root verify-mounts landlock private-image

import os

for path in ("/proc/self/exe", "/proc/1/exe", "/usr/bin/env", "/opt/fireclay/python/runner.pyc"):
    for flags in (os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_TRUNC):
        try:
            os.close(os.open(path, flags))
            print("BREACH", path, flags)
        except OSError as error:
            print(path, error)
try:
    fd = os.open("/proc/self/exe", os.O_RDONLY)
    os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY))
    print("BREACH by descriptor")
except OSError as error:
    print(error)
print("HELD")

# id: FS-04
# title: a directory descriptor that was leaked (CVE-2024-21626)
# stopped-by: close-descriptors place-descriptors
# note: The supervisor of these tests holds one that is inherited. Without either step the streams are the supervisor's own, too.

import os
import stat

listing = os.open("/proc/self/fd", os.O_RDONLY)
for name in os.listdir(listing):
    try:
        link, mode = os.readlink("/proc/self/fd/" + name), os.fstat(int(name)).st_mode
    except OSError as error:
        print(name, error)
        continue
    print(name, link)
    if stat.S_ISDIR(mode) and int(name) != listing:
        print("BREACH", name, link, flush=True)
        print(os.listdir(f"/proc/self/fd/{name}/../..")[:3])
    elif stat.S_ISSOCK(mode):
        print("BREACH a socket", name, link, flush=True)
print("HELD", flush=True)

# id: PR-104
# title: settings of the kernel: read all, write any
# stopped-by: mask-proc landlock

import os

count = 0
for directory, _, names in os.walk("/proc/sys"):
    for name in names:
        count += 1
        path = os.path.join(directory, name)
        try:
            os.close(os.open(path, os.O_WRONLY))
            print("BREACH may write", path)
        except OSError:
            pass
print(count, "settings")
if count > 30:
    print("BREACH the host's settings can be read")
print("HELD")

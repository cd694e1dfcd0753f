# id: PR-100
# title: memory of one's own, through the file system
# stopped-by: landlock
# note: /proc/self/mem writes past page protections; here it can be read only.

import os

for path in ("/proc/self/mem", "/proc/thread-self/mem", f"/proc/{os.getpid()}/mem", "/proc/self/clear_refs", "/proc/self/comm", "/proc/self/timerslack_ns"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        print("BREACH", path)
    except OSError as error:
        print(path, error.strerror)
print("HELD")

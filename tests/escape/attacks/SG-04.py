# id: SG-04
# title: memory and environment of init
# stopped-by: become-user become-undumpable landlock
# control: only root become-undumpable landlock
# note: Root's init changes its user and is undumpable by that; an ordinary user's is not.

import os
import re

for name in ("environ", "mem", "maps", "auxv", "cmdline", "task/1/environ", "task/1/mem"):
    try:
        with open("/proc/1/" + name, "rb") as file:
            text = file.read(4096)
        print("BREACH", name, len(text), re.findall(rb"CANARY-[-\w]+", text))
    except OSError as error:
        print(name, error.strerror)
parent = os.getppid()
for pid in (parent, parent + 1):
    for name in ("environ", "mem"):
        try:
            open(f"/proc/{pid}/{name}", "rb").close()
            if pid != os.getpid():
                print("BREACH", pid, name)
        except OSError as error:
            print(pid, name, error.strerror)
print("HELD")

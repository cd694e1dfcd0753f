# id: FS-104
# title: programs that are no file, and files that are no program
# stopped-by: no-new-privileges seccomp landlock
# control: also filter-init
# note: What it starts is as restricted as it is; in the control that is not much.

import os

fd = os.memfd_create("program", 0)
with open("/usr/bin/id", "rb") as file:
    os.write(fd, file.read())
if os.fork() == 0:
    os.execve(fd, ["id"], {})
os.wait()
status = os.popen("cp /usr/bin/cat /workspace/c; /workspace/c /proc/self/status").read()
for line in status.splitlines():
    key, _, value = line.partition(":")
    if key in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh") and int(value, 16):
        print("BREACH", line)
    if key in ("NoNewPrivs", "Seccomp") and not int(value):
        print("BREACH", line)
print("HELD")

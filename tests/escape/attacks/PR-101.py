# id: PR-101
# title: everything of init that /proc would show
# stopped-by: mount-proc become-user become-undumpable landlock
# control: only pivot-root verify-mounts
# note: In the control it has the host's /proc, and its init.

import os

for name in ("root", "cwd", "exe", "environ", "cmdline", "maps", "mem", "fd", "map_files", "ns", "auxv", "stack", "syscall", "status", "task", "mountinfo", "comm"):
    path = "/proc/1/" + name
    for act in (os.readlink, os.listdir, lambda path: open(path, "rb").read(200), os.stat):
        try:
            print("BREACH", path, act(path))
        except OSError as error:
            print(path, error.strerror)
print("HELD")

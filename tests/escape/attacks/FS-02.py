# id: FS-02
# title: climb out of the root by ..
# stopped-by: pivot-root
# control: also verify-mounts

import os

os.chdir("/")
for _ in range(64):
    os.chdir("..")
entries = sorted(os.listdir("."))
print(entries)
if {"boot", "root", "sys"} & set(entries):
    print("BREACH this is the host's root")
for path in ("/../../../root", "/proc/self/root/../../root", "/proc/self/cwd/../../../root", "/dev/../../root"):
    if os.path.exists(path):
        print("BREACH", path)
print("HELD")

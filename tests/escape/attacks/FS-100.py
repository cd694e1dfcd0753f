# id: FS-100
# title: links, pipes, sockets and odd names where artifacts are collected
# expect: held
# expect: artifacts 3
# control: naive follows-links

import os
import socket

os.chdir("/workspace")
os.symlink("/etc/passwd", "passwd")
os.symlink("/proc/self/environ", "environ")
os.symlink("../../../../../../etc/shadow", "shadow")
os.symlink("/", "root")
os.symlink(".", "loop")
os.symlink("loop/loop/loop/main.py", "again")
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
os.mkdir("directory")
os.symlink("/etc", "directory/etc")
for name in (b"-rf", b"a\\..\\..\\b", b"..."):
    with open(name, "w") as file:
        file.write("x")
print("HELD")

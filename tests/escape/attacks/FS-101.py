# id: FS-101
# title: swap files for links while they are looked at
# expect: outcome timed_out
# expect: within 1100ms
# expect: largest 1B
# limits: timeout=1s
# control: naive collects-before-the-end

import os
import threading

os.chdir("/workspace")
os.symlink("/etc/passwd", "link")
os.mkdir("real")
os.symlink("/etc", "etc")


def swap(one, other):
    while True:
        try:
            os.rename(one, "x" + one)
            os.rename(other, one)
            os.rename("x" + one, other)
        except OSError:
            pass


with open("file", "w") as file:
    file.write("x")
threading.Thread(target=swap, args=("file", "link")).start()
threading.Thread(target=swap, args=("real", "etc")).start()

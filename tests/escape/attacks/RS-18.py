# id: RS-18
# title: names and directories that are hard to remove or to write down
# expect: held
# expect: artifacts 9
# control: naive fails-with-files

import os

os.chdir("/workspace")
os.mkdir("closed")
with open("closed/inside", "w"):
    pass
os.chmod("closed", 0)
os.mkdir("unlistable")
with open("unlistable/inside", "w"):
    pass
os.chmod("unlistable", 0o100)
for name in (b"-rf", b"a\nb", b"\xff\xfe", b"x" * 255, b"$(id)", b"\x1b]0;x\x07"):
    with open(name, "w"):
        pass
with open("unreadable", "w") as file:
    file.write("x")
os.chmod("unreadable", 0)
print("HELD")

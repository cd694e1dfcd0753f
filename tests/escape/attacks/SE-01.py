# id: SE-01
# title: secrets in the environment
# control: naive passes-its-environment

import os

KNOWN = {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "USER"}
with open("/proc/self/environ", "rb") as file:
    block = {pair.split(b"=")[0].decode() for pair in file.read().split(b"\0") if pair}
print(sorted(block))
# The interpreter itself may name the encoding it chose.
for name in (block | set(os.environ)) - KNOWN - {"LC_CTYPE"}:
    print("BREACH", name)
if os.environ["HOME"] != "/home/sandbox" or os.environ["USER"] != "sandbox":
    print("BREACH", os.environ)
print("HELD")

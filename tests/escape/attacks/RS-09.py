# id: RS-09
# title: more files than there is room for
# stopped-by: scratch-bounds
# expect: held
# expect: limits disk
# expect: artifacts 1024
# limits: timeout=5s disk=4MiB

import os

count = 0
try:
    for number in range(3000):
        with open(f"/workspace/{number}", "w"):
            count += 1
except OSError as error:
    print(error)
print(count)
if count > 1024:
    print("BREACH", count)
print("HELD")

# id: RS-105
# title: directories as deep as the kernel lets them be
# expect: held
# expect: artifacts 1
# limits: timeout=5s
# control: naive collects-everything

import os

os.chdir("/workspace")
try:
    for depth in range(3000):
        os.mkdir("d")
        os.chdir("d")
        if depth in (5, 100, 2999):
            open("file", "w").close()
except OSError as error:
    print(depth, error)
print("HELD")

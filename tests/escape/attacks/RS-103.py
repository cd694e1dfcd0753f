# id: RS-103
# title: a sparse file of a terabyte
# stopped-by: lower-limits
# expect: held
# expect: artifacts 0

import os

try:
    with open("/workspace/giant", "w") as file:
        file.truncate(1 << 40)
    print("BREACH", os.stat("/workspace/giant").st_size)
except OSError as error:
    print(error)
os.unlink("/workspace/giant")
print("HELD")

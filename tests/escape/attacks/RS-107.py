# id: RS-107
# title: a sparse file as large as allowed, and a hundred links to it
# expect: held
# expect: artifacts 1
# control: naive collects-everything

import os

with open("/workspace/giant", "w") as file:
    file.truncate(512 << 20)
for number in range(100):
    os.link("/workspace/giant", f"/workspace/{number}")
print("HELD")

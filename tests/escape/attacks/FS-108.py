# id: FS-108
# title: take away one's own right to the workspace, so that collecting fails
# expect: held
# expect: outcome completed
# control: naive fails-with-files

import os

os.mkdir("/workspace/closed")
with open("/workspace/closed/file", "w") as file:
    file.write("x")
os.chmod("/workspace/closed", 0)
os.chmod("/workspace", 0)
print("HELD")

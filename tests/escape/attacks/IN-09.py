# id: IN-09
# title: names as weapons
# expect: held
# expect: artifacts 6
# control: naive splits-names-at-lines

import os

for name in ("<img src=x onerror=alert(1)>.svg", "\x1b]0;x\x07", "a\nX-Evil: 1", "\u202egpj.exe", "..%2f..%2fetc%2fpasswd", "CON"):
    with open(os.path.join("/workspace", name), "w") as file:
        file.write("x")
print("HELD")

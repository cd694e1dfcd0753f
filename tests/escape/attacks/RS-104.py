# id: RS-104
# title: thousands of sparse files, each as large as allowed
# expect: held
# expect: artifacts 1024
# limits: timeout=5s disk=64MiB
# control: naive collects-everything

import signal

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for number in range(2000):
    with open(f"/workspace/{number}", "w") as file:
        file.truncate(64 << 20)
print("HELD")

# id: RS-02
# title: more threads than allowed
# needs: cgroup
# stopped-by: create-cgroup join-cgroup lower-limits
# control: only limits
# expect: held
# expect: limits processes
# limits: timeout=5s processes=32

import os
import threading
import time

count = 0
for _ in range(64):
    try:
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        count += 1
    except RuntimeError as error:
        print(error)
        break
if count >= 32:
    print("BREACH", count)
print("HELD", flush=True)
os._exit(0)

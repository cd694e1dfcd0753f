# id: RS-01
# title: more processes than allowed
# needs: cgroup
# stopped-by: create-cgroup join-cgroup lower-limits
# control: only limits
# expect: held
# expect: limits processes
# limits: timeout=5s processes=32

import os
import time

count = 0
for _ in range(64):
    try:
        if os.fork() == 0:
            time.sleep(100)
        count += 1
    except OSError as error:
        print(error)
        break
print(count)
if count >= 32:
    print("BREACH", count)
print("HELD", flush=True)

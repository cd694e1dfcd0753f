# id: CP-101
# title: close everything, streams and result channel, and go on
# expect: exit 5
# expect: outcome failed
# expect: prints before
# expect: within 1s
# control: naive waits-for-streams

import os
import time

os.write(1, b"before\n")
os.closerange(0, 1024)
for _ in range(10):
    os.open("/dev/null", os.O_RDWR)
time.sleep(0.5)
os._exit(5)

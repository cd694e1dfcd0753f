# id: RS-14
# title: output in drops: slowly, and then each byte by itself as fast as it can be written
# expect: held
# expect: stdout 100106
# limits: timeout=10s
# control: naive reads-byte-by-byte

import os
import time

for _ in range(100):
    os.write(1, b".")
    time.sleep(0.005)
for _ in range(100_000):
    os.write(1, b".")
print("\nHELD", flush=True)

# id: SG-110
# title: stop oneself and all children, so that nothing ends
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: naive counts-processor-time

import os
import signal

for _ in range(5):
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
os.kill(0, signal.SIGSTOP)

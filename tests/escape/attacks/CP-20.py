# id: CP-20
# title: signals to oneself mean what they mean anywhere
# expect: outcome signalled
# expect: signal SIGTERM
# control: naive guesses-by-exit-code

import os
import signal

if os.getpid() == 1:
    print("BREACH this is init")
os.kill(os.getpid(), signal.SIGTERM)

# id: CP-104
# title: pretend that memory ran out
# expect: outcome signalled
# expect: signal SIGKILL
# control: naive guesses-by-exit-code

import os

os.kill(os.getpid(), 9)

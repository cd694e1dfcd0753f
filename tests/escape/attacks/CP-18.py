# id: CP-18
# title: abort
# expect: outcome signalled
# expect: signal SIGABRT
# control: naive guesses-by-exit-code

import os

os.abort()

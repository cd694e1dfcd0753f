# id: CP-107
# title: limits of processor time, set by oneself
# expect: outcome signalled
# expect: signal SIGXCPU
# limits: timeout=20s
# control: naive guesses-by-exit-code

import resource

resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
while True:
    pass

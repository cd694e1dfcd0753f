# id: CP-107
# title: limits of processor time, set by oneself
# expect: outcome signalled
# expect: signal SIGXCPU
# limits: timeout=5s
# control: none facts about a run are the supervisor's own; no step of the plan

import resource

resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
while True:
    pass

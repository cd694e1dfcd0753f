# id: CP-104
# title: pretend that memory ran out
# expect: outcome signalled
# expect: signal SIGKILL
# control: none facts about a run are the supervisor's own; no step of the plan

import os

os.kill(os.getpid(), 9)

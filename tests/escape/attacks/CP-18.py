# id: CP-18
# title: abort
# expect: outcome signalled
# expect: signal SIGABRT
# control: none facts about a run are the supervisor's own; no step of the plan

import os

os.abort()

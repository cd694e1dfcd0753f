# id: CP-03
# title: end without a word
# expect: exit 7
# expect: outcome failed
# expect: no-result
# control: none facts about a run are the supervisor's own; no step of the plan

import os

os._exit(7)

# id: CP-14
# title: evade the deadline in one call that never returns
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: none the deadline is the supervisor's; no step of the plan keeps it

import re

re.match(r"(a+)+$", "a" * 64 + "b")

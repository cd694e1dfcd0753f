# id: CP-14
# title: evade the deadline in one call that never returns
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: naive asks-the-guest-to-end

import re
import threading

# In the main thread Python hears signals while it matches; in another nobody hears anything until it has matched.
threading.Thread(target=re.match, args=(r"(a+)+$", "a" * 64 + "b")).start()

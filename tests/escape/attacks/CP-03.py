# id: CP-03
# title: end without a word
# expect: exit 7
# expect: outcome failed
# expect: no-result
# control: naive believes-frames

import os

os._exit(7)

# id: RS-11
# title: more descriptors than allowed
# stopped-by: lower-limits

import os
import resource

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
count = 0
try:
    while count < 6000:
        os.open("/dev/null", 0)
        count += 1
except OSError as error:
    os.close(5)
    print(error)
print(count)
if count > 4096:
    print("BREACH", count)
print("HELD")

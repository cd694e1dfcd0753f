# id: RS-102
# title: a gigabyte of output on both streams, drained and counted
# expect: outcome completed
# expect: limits output
# expect: truncated
# expect: prints HELD
# limits: timeout=15s output=16MiB
# control: naive keeps-all-output

import os
import threading


def flood(fd, byte):
    for _ in range(512 << 4):
        os.write(fd, byte * 65536)


other = threading.Thread(target=flood, args=(2, b"y"))
other.start()
flood(1, b"x")
other.join()
print("\nHELD")

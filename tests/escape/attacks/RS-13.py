# id: RS-13
# title: one endless line on both streams at once
# expect: outcome output_exceeded
# expect: limits output
# expect: truncated
# limits: timeout=10s
# control: naive keeps-all-output

import os
import threading


def flood(fd, byte):
    while True:
        os.write(fd, byte * 65536)


threading.Thread(target=flood, args=(1, b"x"), daemon=True).start()
flood(2, b"y")

# id: CP-04
# title: hostile frames on every descriptor
# expect: held
# expect: no-result
# control: naive trusts-frames

import os

for fd in range(3, 64):
    for text in (b"\xff\xff\xff\x7f" + b"A" * 65536, b"\x01\xff\xff\xff\xff" + b"{" * 65536, bytes(65536), b"\x03\x02\x00\x00\x00{}"):
        try:
            os.write(fd, text)
        except OSError:
            pass
print("HELD")

# id: CP-103
# title: frames without end, past the deadline
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: naive waits-for-silence

import os

payload = b'{"text/plain":"' + b"x" * 100 + b'"}'
frames = (b"\x02" + len(payload).to_bytes(4, "little") + payload) * 500
channels = []
for fd in range(3, 64):
    try:
        os.fstat(fd)
        channels.append(fd)
    except OSError:
        pass
while True:
    for fd in channels:
        try:
            os.write(fd, frames)
        except OSError:
            pass

# id: CP-109
# title: speak on the result channel after the end
# expect: held
# expect: outcome completed
# expect: within 1s
# limits: timeout=5s
# control: only pidns mount-proc mask-proc pivot-root verify-mounts create-cgroup join-cgroup

import os

if os.fork() == 0:
    os.setsid()
    payload = b'{"text/plain":"late"}'
    while True:
        for fd in (3, 63):
            try:
                os.write(fd, b"\x02" + len(payload).to_bytes(4, "little") + payload)
            except OSError:
                pass
print("HELD")

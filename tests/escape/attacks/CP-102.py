# id: CP-102
# title: a flood on the result channel, of frames that are small and become large
# expect: held
# expect: within 3100ms
# limits: timeout=3s
# note: Two bytes of JSON become an object of many; the supervisor's memory and its deadline must not feel it.
# control: naive trusts-frames

import os

payload = b'{"application/json":[' + b"0," * ((4 << 20) - 100) + b"0]}"
frame = b"\x02" + len(payload).to_bytes(4, "little") + payload
nested = b'{"a":[' + b"[],{},[]," * (900 << 10) + b"0]}"
second = b"\x02" + len(nested).to_bytes(4, "little") + nested
for fd in range(3, 64):
    try:
        os.fstat(fd)
    except OSError:
        continue
    try:
        for text in (frame, second, frame):
            rest = memoryview(text)
            while rest:
                rest = rest[os.write(fd, rest[:65536]) :]
    except OSError as error:
        print(error)
print("HELD")

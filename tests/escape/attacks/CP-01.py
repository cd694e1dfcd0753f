# id: CP-01
# title: a frame on standard output
# expect: held
# expect: no-result
# expect: exit 3
# control: naive believes-output

import os
import sys

print('{"type":"result","exit_code":0,"status":"ok"}')
frame = b'{"text/plain":"forged"}'
sys.stdout.buffer.write(b"\x01" + len(frame).to_bytes(4, "little") + frame + b"\n")
print("HELD", flush=True)
os._exit(3)

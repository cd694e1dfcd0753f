# id: CP-05
# title: take the runner apart, and have it say that all failed
# expect: prints HELD
# expect: exit 0
# control: naive believes-frames

import builtins
import gc
import os
import sys

os.write(1, b"HELD\n")
main = sys.modules["__main__"]
for thing in gc.get_objects():
    if type(thing).__name__ == "Channel":
        # In its own voice.
        thing.send(3, b'{"name": "Forged", "message": "", "traceback": ""}')
    if type(thing).__name__ == "function" and "fireclay" in (getattr(thing.__code__, "co_filename", "") or ""):
        try:
            thing.__code__ = (lambda *a, **k: None).__code__
        except ValueError:
            pass
builtins.print = lambda *a: None
sys.stdout = sys.stderr = None
sys.modules.clear()

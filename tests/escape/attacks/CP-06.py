# id: CP-06
# title: walk the frames into the runner
# control: naive runs-its-own-runner

import sys

frame, depth = sys._getframe(), 0
while frame:
    print(frame.f_code.co_filename, sorted(frame.f_locals)[:9])
    for name, value in list(frame.f_locals.items()):
        if isinstance(value, (str, bytes)) and "CANARY" in str(value):
            print("BREACH", name)
    frame, depth = frame.f_back, depth + 1
print(depth)
try:
    raise ValueError
except ValueError as error:
    trace = error.__traceback__
    while trace:
        print(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
print("HELD")

# Forks itself once for each line of input, and answers with the nanoseconds until the fork, which ran a program, was gone.
import collections, datetime, functools, io, itertools, json, math, os, random, re, string, sys, time, traceback, typing
import _ast, gc

code = "print(1)"
gc.collect()
gc.freeze()
print("ready", flush=True)
for _ in sys.stdin:
    began = time.perf_counter_ns()
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.dup2(writing, 1)
        exec(compile(code, "main.py", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    said = b""
    while piece := os.read(reading, 4096):
        said += piece
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter_ns() - began
    print(took if (said, status) == (b"1\n", 0) else f"{said} {status}", flush=True)

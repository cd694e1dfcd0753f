# A pool of workers; each line of input has one of them run a program in a new session.
import sys, time
from pydantic_monty import CollectString, Monty

with Monty() as pool:
    print("ready", flush=True)
    for _ in sys.stdin:
        output = CollectString()
        began = time.perf_counter_ns()
        with pool.checkout() as session:
            session.feed_run("print(1)", print_callback=output)
        took = time.perf_counter_ns() - began
        print(took if output.output == "1\n" else repr(output.output), flush=True)

# Each line of input has it start a kernel, wait until it is ready, execute a program and wait for its output and its end.
import os, shutil, sys, tempfile, time

os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp()
from jupyter_client.manager import start_new_kernel

try:
    print("ready", flush=True)
    for _ in sys.stdin:
        said = []
        began = time.perf_counter_ns()
        manager, client = start_new_kernel(kernel_name="python3", extra_arguments=["--log-level=ERROR"])
        reply = client.execute_interactive("print(1)", output_hook=lambda message: said.append(message["content"].get("text")))
        took = time.perf_counter_ns() - began
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        right = reply["content"]["status"] == "ok" and "".join(text or "" for text in said) == "1\n"
        print(took if right else f"{reply} {said}", flush=True)
finally:
    shutil.rmtree(os.environ["IPYTHONDIR"], ignore_errors=True)

# One kernel; each line of input has it execute a program and wait for its output and its end.
import sys, tempfile, time, os

os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp()
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3", extra_arguments=["--log-level=ERROR"])
try:
    print("ready", flush=True)
    for _ in sys.stdin:
        said = []
        began = time.perf_counter_ns()
        reply = client.execute_interactive("print(1)", output_hook=lambda message: said.append(message["content"].get("text")))
        took = time.perf_counter_ns() - began
        right = reply["content"]["status"] == "ok" and "".join(text or "" for text in said) == "1\n"
        print(took if right else f"{reply} {said}", flush=True)
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    import shutil

    shutil.rmtree(os.environ["IPYTHONDIR"], ignore_errors=True)

# id: SC-23
# title: every number there is
# stopped-by: seccomp
# limits: timeout=10s processes=16
# note: Prints what each number answers to nonsense; tests/escape/surface.rs compares the whole table. A number that no kernel has yet must
# note: look like one that the kernel lacks; in the control a kernel's own calls answer where the filter has no row for them.

import ctypes
import errno
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
# These end, stop or fork the caller, or are the means of the experiment.
SKIPPED = {15: "rt_sigreturn", 34: "pause", 56: "clone", 57: "fork", 58: "vfork", 60: "exit", 61: "wait4", 231: "exit_group", 247: "waitid"}
NOT_OURS = {206, 216, 237, 248, 250, 275, 276, 278, 425, 426, 427, 435, 447}
nonsense = [ctypes.c_long(-1)] * 6
for number in range(1024):
    if number in SKIPPED:
        continue
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(5)
        ctypes.set_errno(0)
        answer = libc.syscall(ctypes.c_long(number), *nonsense)
        code = ctypes.get_errno() if answer == -1 else 0
        # By a pipe, and not stdout, which the call may have closed.
        os.write(writer, b"OK" if answer != -1 else errno.errorcode.get(code, str(code)).encode())
        os._exit(0)
    os.close(writer)
    status = os.waitpid(pid, 0)[1]
    said = os.read(reader, 100).decode()
    os.close(reader)
    if os.WIFSIGNALED(status):
        said = signal.Signals(os.WTERMSIG(status)).name
    print(f"{number:4} {said or 'silent'}")
    if (number > 600 or number in NOT_OURS) and said != "ENOSYS":
        print("BREACH", number, said)
print("HELD")

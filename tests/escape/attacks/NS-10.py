# id: NS-10
# title: system calls by the x32 door
# expect: held
# control: none this kernel is built without x32; the filter's own tests show its branch

import ctypes
import errno

libc = ctypes.CDLL(None, use_errno=True)
for number in (39, 41, 56, 272, 512, 519, 520, 521, 547):
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(0x40000000 | number), 0, 0, 0, 0, 0, 0)
    if answer != -1 or ctypes.get_errno() != errno.ENOSYS:
        print("BREACH", number, answer, ctypes.get_errno())
print("HELD")

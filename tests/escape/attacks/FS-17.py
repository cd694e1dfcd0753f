# id: FS-17
# title: write to page-cache pages of readable files (Copy Fail and its kin)
# stopped-by: seccomp
# note: The families exist on few kernels; the control shows that the calls that all of them need get through to the kernel.

import ctypes
import errno
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)
image = os.open("/usr/bin/env", os.O_RDONLY)
reader, writer = os.pipe()
for name, number, arguments in (("splice", 275, (image, 0, writer, 0, 4096, 0)), ("sendfile", 40, (writer, image, 0, 4096))):
    answer = libc.syscall(number, *map(ctypes.c_long, arguments))
    print(name, answer, errno.errorcode.get(ctypes.get_errno()))
    if answer > 0:
        print("BREACH a page of the image in a pipe by", name)
try:
    socket.socket(38, socket.SOCK_SEQPACKET).bind(("aead", "authencesn(hmac(sha256),cbc(aes))"))
    print("BREACH AF_ALG")
except OSError as error:
    print(error)
print("HELD")

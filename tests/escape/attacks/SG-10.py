# id: SG-10
# title: an abstract socket of a neighbour
# stopped-by: netns landlock
# control: also loopback-up

import socket

own = socket.socket(socket.AF_UNIX)
own.bind("\0own")
own.listen()
socket.socket(socket.AF_UNIX).connect("\0own")
try:
    socket.socket(socket.AF_UNIX).connect("\0fireclay-canary")
    print("BREACH connected")
except OSError as error:
    print(error)
with open("/proc/net/unix") as file:
    if "fireclay-canary" in file.read():
        print("BREACH it is listed")
print("HELD")

# id: NT-03
# title: ports of the host and of neighbours on loopback
# stopped-by: netns
# control: also loopback-up
# note: In the control a neighbour listens on port 48222.

import socket

for port in (22, 80, 443, 2375, 4222, 5432, 6222, 6379, 8080, 8222, 9000, 10250, 48222):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as client:
            client.settimeout(0.2)
            if client.connect_ex((address, port)) == 0:
                print("BREACH", address, port)
# Its own loopback works all the same.
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
print("HELD")

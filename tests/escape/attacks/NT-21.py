# id: NT-21
# title: multicast and neighbours' discovery
# stopped-by: netns
# control: also loopback-up

import socket

names = [name for _, name in socket.if_nameindex()]
if names != ["lo"]:
    # Nothing is sent where it would leave the machine.
    print("BREACH interfaces", names)
    raise SystemExit
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
    for index in range(1, 6):
        try:
            client.sendto(b"x", (f"ff02::1%{index}", 9))
            name = socket.if_indextoname(index)
            print("sent on", name)
            if name != "lo":
                print("BREACH", name)
        except OSError as error:
            print(index, error)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for address in ("255.255.255.255", "224.0.0.251", "239.255.255.250"):
        try:
            client.sendto(b"x", (address, 1900))
            print("BREACH", address)
        except OSError as error:
            print(address, error)
print("HELD")

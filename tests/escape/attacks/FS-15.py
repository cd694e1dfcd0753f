# id: FS-15
# title: find what an earlier or neighbouring run left, and leave something
# stopped-by: mount-scratch
# control: naive reuses-the-workspace

import os

PLACES = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/workspace", "/root", "/home/sandbox", "/dev/mqueue", "/var/lib", "/opt"]
for place in PLACES:
    try:
        for name in os.listdir(place):
            if "CANARY" in name or "PWNED" in name:
                print("BREACH", place, name)
    except OSError as error:
        print(error)
for place in PLACES:
    for name in ("PWNED", ".PWNED"):
        try:
            with open(f"{place}/{name}", "w") as file:
                file.write("left")
        except OSError as error:
            print(error)
print("HELD")

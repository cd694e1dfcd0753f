# id: SE-02
# title: secrets in memory that was somebody else's
# control: naive passes-its-environment

import re

own = b"".join((b"CAN", b"ARY-", b"0123456789abcdef", b"-own"))
hits = set()
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        start, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
        if mode[0] != "r" or "[v" in line:
            continue
        memory.seek(int(start, 16))
        try:
            # In pieces, so that what was read is not found in what is read.
            for _ in range(int(start, 16), int(end, 16), 1 << 20):
                hits.update(re.findall(rb"CANAR[Y]-[0-9a-f]{16,}-\w+", memory.read(1 << 20)))
        except OSError:
            pass
if own not in hits:
    raise SystemExit("the probe does not work")
for hit in hits - {own}:
    print("BREACH", hit)
print("HELD")

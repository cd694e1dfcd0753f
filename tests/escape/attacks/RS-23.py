# id: RS-23
# title: more memory than there is, with all that is not needed at once pushed out to swap
# stopped-by: create-cgroup join-cgroup
# expect: outcome memory_exceeded
# expect: limits memory
# expect: memory 160MiB
# limits: timeout=5s memory=64MiB disk=1MiB
# control: only limits
# note: Where there is no swap this is RS-03 with a call more; that none may be used is then seen from outside (swap.rs).

import mmap

PAGEOUT = 21
kept = []
for _ in range(12):
    piece = mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, 16 << 20, 4096):
        piece[at] = 1
    try:
        piece.madvise(PAGEOUT)
    except OSError as error:
        print(error)
    kept.append(piece)
print("BREACH", len(kept) * 16, "MiB", flush=True)

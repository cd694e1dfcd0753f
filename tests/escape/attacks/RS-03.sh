# id: RS-03
# title: more heap than there is
# stopped-by: create-cgroup join-cgroup
# control: only limits
# expect: outcome memory_exceeded
# expect: limits memory
# expect: memory 160MiB
# limits: timeout=10s memory=64MiB disk=1MiB

heap=$(head -c 200M /dev/zero | tr '\0' x)
[ "${#heap}" -gt 150000000 ] && echo "BREACH ${#heap}"

# id: RS-08
# title: more disk than there is
# stopped-by: scratch-bounds lower-limits
# expect: held
# expect: limits disk
# limits: timeout=5s disk=8MiB

for place in /workspace /tmp /dev/shm /home/sandbox; do dd if=/dev/zero of=$place/f bs=1M count=6 2>/dev/null; done
total=$(cat /workspace/f /tmp/f /dev/shm/f /home/sandbox/f | wc -c)
echo "$total"
[ "$total" -le 8388608 ] || echo "BREACH $total"
echo HELD

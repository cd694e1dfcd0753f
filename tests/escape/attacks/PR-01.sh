# id: PR-01
# title: see the processes of others, and their arguments
# stopped-by: pidns mount-proc become-undumpable
# control: only pivot-root verify-mounts
# note: In the control it has the host's /proc.

pids=$(ls /proc | grep -cE '^[0-9]+$')
[ "$pids" -le 4 ] || echo "BREACH $pids processes"
for dir in /proc/[0-9]*; do
  pid=${dir#/proc/}
  [ "$pid" = 1 ] && echo "BREACH init: $(tr '\0' ' ' < "$dir/cmdline")"
done
cat /proc/1/cmdline 2>/dev/null && echo "BREACH by name"
ps -ef | grep -q 'CANAR[Y]-' && echo "BREACH ps"
echo HELD

# id: SG-03
# title: attack init by signals
# stopped-by: pidns landlock
# control: also mount-proc mask-proc pivot-root verify-mounts
# note: In the control its init is a process like any other, and dies: a fault.

for signal in STOP SEGV TERM HUP ILL ABRT SYS RTMIN RTMAX KILL; do kill -$signal $PPID 2>/dev/null && echo "sent $signal"; done
sleep 0.05
[ "$PPID" = 1 ] || echo "BREACH the parent is $PPID"
kill -0 $PPID 2>/dev/null && echo "init is in sight"
echo HELD

# id: SG-01
# title: kill everyone
# stopped-by: pidns landlock
# control: also mount-proc mask-proc pivot-root verify-mounts
# note: In the control it kills its init, whose death ends the run: a fault.

kill -9 -1
kill -TERM -1
trap '' TERM
kill -9 -- -1
echo HELD

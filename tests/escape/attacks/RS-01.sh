# id: RS-01
# title: the fork bomb
# expect: limits processes
# expect: within 1100ms
# limits: timeout=1s processes=32
# control: only limits

bomb() { bomb | bomb & }
bomb 2>/dev/null
while :; do
  # Its own processes only, and no process is needed to count them.
  all=(/proc/[0-9]*)
  [ ${#all[@]} -le 34 ] || echo "BREACH ${#all[@]} processes"
  sleep 0.1 || :
done 2>/dev/null

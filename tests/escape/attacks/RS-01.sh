# id: RS-01
# title: the fork bomb
# expect: limits processes
# expect: within 1100ms
# limits: timeout=1s processes=16
# control: only limits

bomb() { bomb | bomb & }
bomb 2>/dev/null
while :; do
  # Its own processes only; to count them takes no further process, for which the shell would wait.
  all=(/proc/[0-9]*)
  [ ${#all[@]} -le 18 ] || { echo "BREACH ${#all[@]} processes"; break; }
done

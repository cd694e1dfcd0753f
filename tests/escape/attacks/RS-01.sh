# id: RS-01
# title: the fork bomb
# needs: cgroup
# expect: limits processes
# expect: within 1100ms
# limits: timeout=1s processes=16
# control: only limits

bomb() { bomb | bomb & }
bomb 2>/dev/null
while :; do
  # Its own processes only; to count them takes no further process, for which the shell would wait. A listing is no moment: what dies
  # while it is made and what is born then are both in it. What is in two, one after the other, was there between them, all of it.
  first=(/proc/[0-9]*)
  second=(/proc/[0-9]*)
  declare -A seen=()
  for process in "${first[@]}"; do seen[$process]=1; done
  count=0
  for process in "${second[@]}"; do count=$((count + ${seen[$process]:-0})); done
  [ "$count" -le 18 ] || { echo "BREACH $count processes"; break; }
done

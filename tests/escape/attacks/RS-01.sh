# id: RS-01
# title: the fork bomb
# expect: limits processes
# expect: within 1100ms
# limits: timeout=1s processes=32
# control: none it would bomb the host; RS-01.py shows the same wall with a bounded number

bomb() { bomb | bomb & }
bomb 2>/dev/null
while :; do sleep 0.1 || :; done 2>/dev/null

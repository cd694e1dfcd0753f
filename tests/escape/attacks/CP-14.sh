# id: CP-14
# title: evade the deadline by becoming another program
# expect: outcome timed_out
# expect: within 1100ms
# limits: timeout=1s
# control: naive counts-processor-time

trap '' TERM INT HUP ALRM
exec sleep infinity

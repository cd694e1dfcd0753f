# id: RS-12
# title: a flood of output
# expect: outcome output_exceeded
# expect: limits output
# expect: truncated
# limits: timeout=10s output=64KiB
# control: naive keeps-all-output

yes

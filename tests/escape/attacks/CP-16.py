# id: CP-16
# title: wait for somebody to type
# expect: outcome failed completed
# expect: within 2s
# limits: timeout=3s
# control: none facts about a run are the supervisor's own; no step of the plan

breakpoint()
input()

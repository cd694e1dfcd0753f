# id: CP-105
# title: pretend by an exit code that somebody else ended the run
# expect: outcome failed
# expect: exit 137
# control: none facts about a run are the supervisor's own; no step of the plan

exit 137

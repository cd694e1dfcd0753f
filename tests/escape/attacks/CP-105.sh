# id: CP-105
# title: pretend by an exit code that somebody else ended the run
# expect: outcome failed
# expect: exit 137
# control: naive guesses-by-exit-code

exit 137

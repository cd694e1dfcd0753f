# id: CP-16
# title: wait for somebody to type
# expect: outcome failed completed
# expect: within 2s
# limits: timeout=3s
# control: naive leaves-input-open

breakpoint()
input()

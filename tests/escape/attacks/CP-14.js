// id: CP-14
// title: evade the deadline without an event loop
// expect: outcome timed_out
// expect: within 1100ms
// limits: timeout=1s
// control: none the deadline is the supervisor's; no step of the plan keeps it

for (;;);

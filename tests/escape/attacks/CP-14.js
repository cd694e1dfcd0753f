// id: CP-14
// title: evade the deadline without an event loop
// expect: outcome timed_out
// expect: within 1100ms
// limits: timeout=1s
// control: naive asks-the-guest-to-end

for (;;);

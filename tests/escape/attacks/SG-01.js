// id: SG-01
// title: kill everyone
// stopped-by: pidns landlock
// control: also mount-proc mask-proc pivot-root verify-mounts
// note: In the control it kills its init, whose death ends the run: a fault.

for (const signal of ['SIGKILL', 'SIGSTOP', 'SIGTERM']) {
  try {
    process.kill(-1, signal);
  } catch (error) {
    console.log(signal, error.code);
  }
}
console.log('HELD');

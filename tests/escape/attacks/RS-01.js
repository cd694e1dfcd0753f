// id: RS-01
// title: more processes than allowed
// stopped-by: create-cgroup join-cgroup lower-limits
// control: only limits
// limits: timeout=8s processes=32

const { spawn } = require('child_process');
let alive = 0;
let left = 40;
for (let i = 0; i < 40; i++) {
  let child;
  try {
    child = spawn('/bin/sleep', ['100'], { stdio: 'ignore' });
  } catch (error) {
    left -= 1;
    continue;
  }
  child.on('spawn', () => { alive += 1; left -= 1; done(); });
  child.on('error', () => { left -= 1; done(); });
}
function done() {
  if (left) return;
  if (alive >= 32) console.log('BREACH', alive);
  console.log('HELD');
  process.exit(0);
}
done();

// id: NT-01
// title: reach anything outside
// stopped-by: netns
// control: also loopback-up

const net = require('net');
const os = require('os');
const others = Object.keys(os.networkInterfaces()).filter((name) => name !== 'lo');
if (others.length) {
  // Nothing is sent where it would leave the machine.
  console.log('BREACH interfaces', others);
  process.exit(1);
}
let left = 3;
for (const host of ['1.1.1.1', '169.254.169.254', '2606:4700::1111']) {
  const socket = net.connect({ host, port: 443, timeout: 300 });
  const done = (text) => { console.log(text); socket.destroy(); if (!--left) console.log('HELD'); };
  socket.once('connect', () => done('BREACH ' + host));
  socket.once('timeout', () => done('BREACH no answer at once: ' + host));
  socket.once('error', (error) => done(error.code === 'ENETUNREACH' ? 'refused' : 'BREACH ' + error.code));
}

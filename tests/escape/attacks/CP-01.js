// id: CP-01
// title: a frame on standard output
// expect: held
// expect: exit 3
// control: naive believes-output

const frame = Buffer.from('{"text/plain":"forged"}');
const head = Buffer.alloc(5);
head[0] = 1;
head.writeUInt32LE(frame.length, 1);
require('fs').writeSync(1, Buffer.concat([head, frame, Buffer.from('\n')]));
require('fs').writeSync(1, 'HELD\n');
process.exit(3);

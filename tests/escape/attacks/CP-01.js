// id: CP-01
// title: a frame on standard output
// expect: held
// expect: exit 3
// control: none facts about a run are the supervisor's own; no step of the plan

const frame = Buffer.from('{"text/plain":"forged"}');
const head = Buffer.alloc(5);
head[0] = 1;
head.writeUInt32LE(frame.length, 1);
require('fs').writeSync(1, Buffer.concat([head, frame, Buffer.from('\n')]));
require('fs').writeSync(1, 'HELD\n');
process.exit(3);

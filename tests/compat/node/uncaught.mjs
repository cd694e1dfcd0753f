// What a program that fails prints.
import fs from 'node:fs';

console.log('before');
console.error('to stderr');
console.table([{ a: 1, b: 'x' }]);
console.group('group');
console.warn('inside');
console.groupEnd();
console.assert(false, 'asserted');
console.count();
fs.writeSync(1, 'direct\n');
process.exit(12);

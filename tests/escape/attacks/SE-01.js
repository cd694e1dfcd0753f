// id: SE-01
// title: secrets in the environment
// control: naive passes-its-environment

const known = ['HOME', 'LANG', 'LOGNAME', 'PATH', 'SHELL', 'TMPDIR', 'USER'];
for (const name of Object.keys(process.env)) if (!known.includes(name)) console.log('BREACH', name);
const block = require('fs').readFileSync('/proc/self/environ', 'utf8').split('\0').map((pair) => pair.split('=')[0]);
for (const name of block) if (name && !known.includes(name)) console.log('BREACH block', name);
if (process.argv.some((word) => word.includes('CANARY'))) console.log('BREACH argv');
console.log('HELD');

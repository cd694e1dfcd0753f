// Names: localhost resolves, others do not, and quickly.
import dns from 'node:dns';

console.log((await dns.promises.lookup('localhost', { family: 4 })).address);
console.log((await dns.promises.lookup('127.0.0.1')).family, (await dns.promises.lookupService('127.0.0.1', 443)).service);
await dns.promises.lookup('does-not-exist.invalid').catch((error) => console.log(error.syscall, error.hostname));

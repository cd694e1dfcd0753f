// util, events, buffers, structured clones, text encodings, events and errors with causes.
import util from 'node:util';
import { EventEmitter, on, getEventListeners } from 'node:events';
import assert from 'node:assert';

console.log(util.inspect({ a: [1, { b: new Map([['k', new Set([1])]]) }], [Symbol('s')]: 1n, f() {}, d: new Date(0) }, { depth: 5 }));
console.log(util.format('%s %d %j %o %%', 'x', 42, { a: 1 }, [1]), util.types.isProxy(new Proxy({}, {})), util.isDeepStrictEqual({ a: [1] }, { a: [1] }));
console.log(util.parseArgs({ args: ['-f', '--bar', 'b'], options: { f: { type: 'boolean', short: 'f' }, bar: { type: 'string' } } }).values);
console.log(util.stripVTControlCharacters('\u001b[31mred\u001b[0m'), util.styleText?.('red', 'x')?.length);
const emitter = new EventEmitter();
setImmediate(() => { emitter.emit('e', 1); emitter.emit('e', 2); });
for await (const [value] of on(emitter, 'e')) { console.log(value); if (value === 2) break; }
console.log(getEventListeners(emitter, 'e').length);
console.log(structuredClone(new Map([[{ a: 1 }, new Uint8Array([1, 2])]])), Buffer.from('aGk=', 'base64').toString(), Buffer.from([1, 2, 3]).readUInt16BE(1));
console.log(new TextDecoder('utf-16le').decode(new Uint8Array([104, 0])), new TextDecoder('shift_jis').decode(new Uint8Array([0x93, 0xfa])), new TextEncoder().encode('€').length);
try { assert.deepStrictEqual({ a: 1 }, { a: 2 }); } catch (error) { console.log(error.message); }
const error = new Error('outer', { cause: new TypeError('inner') });
console.log(error.cause.name, new AggregateError([1, 2], 'm').errors.length);
console.log(await util.promisify((value, done) => setImmediate(done, null, value))('promised'));
const target = new EventTarget();
target.addEventListener('x', (event) => console.log(event.type), { once: true });
target.dispatchEvent(new Event('x'));
const registry = new FinalizationRegistry(() => {});
registry.register({}, 1);
console.log(new WeakRef(target).deref() === target);

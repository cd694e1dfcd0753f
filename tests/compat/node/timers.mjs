// Timers, microtasks and their order; intervals, unref, promised timers, hrtime.
import { setTimeout as sleep, setInterval as every } from 'node:timers/promises';

const order = [];
setTimeout(() => order.push('timeout'), 0);
setImmediate(() => order.push('immediate'));
process.nextTick(() => order.push('tick'));
queueMicrotask(() => order.push('microtask'));
Promise.resolve().then(() => order.push('promise'));
await sleep(20);
console.log(order.slice(0, 3).sort().join(), order.slice(3).sort().join());
const before = process.hrtime.bigint();
await sleep(50);
const took = Number(process.hrtime.bigint() - before) / 1e6;
console.log(took >= 49, took < 2000);
let ticks = 0;
for await (const _ of every(1)) if (++ticks === 5) break;
console.log(ticks);
const abort = new AbortController();
const waiting = sleep(60_000, null, { signal: abort.signal });
abort.abort();
await waiting.catch((error) => console.log(error.code));
setTimeout(() => console.log('never'), 60_000).unref();

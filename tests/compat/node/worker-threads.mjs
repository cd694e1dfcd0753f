// Threads: messages, shared memory and Atomics, transfer, errors, termination, a pool.
import { Worker, MessageChannel, isMainThread, threadId } from 'node:worker_threads';
import { once } from 'node:events';

const start = (code, options = {}) => new Worker(code, { eval: true, ...options });
const shared = new Int32Array(new SharedArrayBuffer(8));
const count = `const { workerData, parentPort } = require('node:worker_threads');
for (let i = 0; i < 10000; i++) Atomics.add(workerData, 0, 1);
Atomics.add(workerData, 1, 1); Atomics.notify(workerData, 1); parentPort.postMessage('done');`;
const workers = Array.from({ length: 4 }, () => start(count, { workerData: shared }));
await Promise.all(workers.map((worker) => once(worker, 'exit')));
console.log(isMainThread, threadId, shared[0], shared[1]);

const waiter = start(`const { workerData } = require('node:worker_threads');
process.exitCode = Atomics.wait(workerData, 0, 0) === 'ok' ? 5 : 6;`, { workerData: new Int32Array(shared.buffer.slice(0)) });
waiter.on('online', () => {});
const gate = new Int32Array(new SharedArrayBuffer(4));
const gated = start(`const { workerData } = require('node:worker_threads'); Atomics.wait(workerData, 0, 0); process.exit(7);`, { workerData: gate });
await once(gated, 'online');
Atomics.store(gate, 0, 1); Atomics.notify(gate, 0);
console.log((await once(gated, 'exit'))[0]);
await waiter.terminate();

const thrower = start(`throw new RangeError('from a thread')`);
const [error] = await once(thrower, 'error');
console.log(error.name, error.message);

const { port1, port2 } = new MessageChannel();
const echo = start(`const { parentPort } = require('node:worker_threads');
parentPort.once('message', ({ port, bytes }) => { port.postMessage(bytes.length); port.close(); });`);
const bytes = new Uint8Array(1000);
echo.postMessage({ port: port2, bytes }, [port2, bytes.buffer]);
console.log((await once(port1, 'message'))[0], bytes.length);

const endless = start('while (true);');
await once(endless, 'online');
console.log(await endless.terminate());
const limited = start('const a = []; while (true) a.push(new Array(1000).fill(a.length));', { resourceLimits: { maxOldGenerationSizeMb: 16 } });
console.log((await once(limited, 'error'))[0].code);

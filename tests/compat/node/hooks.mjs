// perf_hooks, async_hooks, AsyncLocalStorage, diagnostics channels, the inspector's profiler, v8, vm.
import { performance, PerformanceObserver, monitorEventLoopDelay } from 'node:perf_hooks';
import { AsyncLocalStorage, createHook, executionAsyncId } from 'node:async_hooks';
import diagnostics from 'node:diagnostics_channel';
import { Session } from 'node:inspector/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import { setTimeout as sleep } from 'node:timers/promises';

const seen = new Promise((resolve) => new PerformanceObserver((list, observer) => { observer.disconnect(); resolve(list.getEntries()[0].name); }).observe({ entryTypes: ['measure'] }));
performance.mark('a');
performance.measure('m', 'a');
console.log(await seen, performance.timeOrigin > 0, performance.now() > 0, performance.eventLoopUtilization().utilization >= 0);
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
await sleep(20);
delay.disable();
console.log(delay.max > 0);
const storage = new AsyncLocalStorage();
await storage.run('context', async () => { await sleep(1); console.log(storage.getStore()); });
let inits = 0;
const hook = createHook({ init() { inits++; } }).enable();
setTimeout(() => {}, 1);
hook.disable();
console.log(inits > 0, executionAsyncId() >= 0);
diagnostics.subscribe('c', (message) => console.log(message));
diagnostics.channel('c').publish('diagnosed');
const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.start');
for (let i = 0; i < 1e6; i++) Math.sqrt(i);
console.log((await session.post('Profiler.stop')).profile.nodes.length > 0);
console.log((await session.post('Runtime.evaluate', { expression: '6 * 7' })).result.value);
session.disconnect();
console.log(v8.deserialize(v8.serialize({ a: new Date(0), b: 10n })), v8.getHeapStatistics().heap_size_limit > 1e7);
console.log(vm.runInNewContext('x + 1', { x: 41 }), new vm.Script('this.constructor.name').runInThisContext());
try { vm.runInNewContext('while (true);', {}, { timeout: 50 }); } catch (error) { console.log(error.code); }
try { vm.runInThisContext('syntax error'); } catch (error) { console.log(error.name); }
let parts = 0;
for await (const part of v8.getHeapSnapshot()) parts += part.length;
console.log(parts > 1e6);

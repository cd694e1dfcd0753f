// WebAssembly: compile, instantiate, memory growth, traps, a table of functions, many calls (so that the optimiser runs).
const bytes = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 12, 2, 96, 2, 127, 127, 1, 127, 96, 1, 127, 1, 127, 3, 3, 2, 0, 1, 5, 3, 1, 0, 1, 7, 17, 3, 3, 97, 100, 100, 0, 0,
  3, 102, 97, 99, 0, 1, 1, 109, 2, 0, 10, 31, 2, 7, 0, 32, 0, 32, 1, 106, 11, 21, 0, 32, 0, 69, 4, 127, 65, 1, 5, 32, 0, 32, 0, 65, 1, 107, 16, 1, 108, 11, 11,
]);
console.log(WebAssembly.validate(bytes));
const { instance, module } = await WebAssembly.instantiate(bytes);
console.log(WebAssembly.Module.exports(module).map(({ name }) => name).join());
console.log(instance.exports.add(2, 40), instance.exports.fac(10), instance.exports.add(2 ** 31 - 1, 1));
let sum = 0;
for (let i = 0; i < 1e6; i++) sum = instance.exports.add(sum, i);
console.log(sum);
try { instance.exports.fac(-1); } catch (error) { console.log(error.name); }
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1000 });
console.log(memory.grow(500), memory.buffer.byteLength);
const shared = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
console.log(shared.buffer instanceof SharedArrayBuffer);
await WebAssembly.compile(new Uint8Array([0, 1])).catch((error) => console.log(error.name));

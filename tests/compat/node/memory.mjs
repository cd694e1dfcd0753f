// Memory as programs use it: large buffers, many objects, the optimising compiler, regular expressions, deep recursion.
const big = Buffer.alloc(100 << 20, 1);
console.log(big.length, big.at(-1));
const objects = Array.from({ length: 500_000 }, (_, i) => ({ i, s: `${i}` }));
console.log(objects.length, objects[499_999].s);
const fibonacci = (n) => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));
console.log(fibonacci(27), (2n ** 521n - 1n).toString().length);
const deep = () => deep() + 1;
try { deep(); } catch (error) { console.log(error.name, error.message); }
console.log('x'.repeat(1 << 20).replace(/x/g, 'yy').length, 'a1b2'.replaceAll(/\d/g, (d) => d * 2), [..."aXbX".matchAll(/X/g)].length);
try { Buffer.alloc(2 ** 53); } catch (error) { console.log(error.code); }
try { new Array(-1); } catch (error) { console.log(error.name); }
const resizable = new ArrayBuffer(8, { maxByteLength: 64 });
resizable.resize(32);
console.log(resizable.byteLength, new Float64Array(1e6).fill(0.5).reduce((a, b) => a + b));
console.log([3, 1, 2].toSorted().join(), Object.groupBy?.([1, 2, 3], (n) => (n % 2 ? 'odd' : 'even'))?.odd?.length ?? 'none');

// Streams: pipelines, transforms, back-pressure, async iteration, web streams, files.
import fs from 'node:fs';
import { Readable, Transform, Writable, PassThrough, finished } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';

const upper = new Transform({ transform(chunk, _, done) { done(null, String(chunk).toUpperCase()); } });
await pipeline(Readable.from(['a', 'b', 'c']), upper, fs.createWriteStream('out'));
console.log(fs.readFileSync('out', 'utf8'));
fs.writeFileSync('big', Buffer.alloc(5 << 20, 'x'));
let bytes = 0, paused = 0;
const slow = new Writable({ highWaterMark: 1 << 16, write(chunk, _, done) { bytes += chunk.length; setImmediate(done); } });
const source = fs.createReadStream('big');
source.on('pause', () => paused++);
await pipeline(source, slow);
console.log(bytes, paused > 0);
console.log(await text(fs.createReadStream('big', { start: 10, end: 14 })));
await pipeline(fs.createReadStream('nothing'), new PassThrough()).catch((error) => console.log(error.code));
console.log(await Readable.from([1, 2, 3, 4]).filter((n) => n % 2 === 0).map((n) => n * 10).toArray());
const web = new ReadableStream({ start(controller) { controller.enqueue('w'); controller.close(); } });
for await (const chunk of web.pipeThrough(new TextEncoderStream()).pipeThrough(new CompressionStream('gzip')).pipeThrough(new DecompressionStream('gzip'))) console.log(chunk);
const broken = new Readable({ read() { this.destroy(new Error('broken')); } });
await new Promise((resolve) => finished(broken.resume(), (error) => { console.log(error.message); resolve(); }));
process.stdout.write('last\n');

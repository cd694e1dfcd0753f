// Compression: gzip, deflate, raw, brotli, streams, crc errors, the thread pool.
import zlib from 'node:zlib';
import { promisify } from 'node:util';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';

const data = Buffer.from('the quick brown fox '.repeat(5000));
for (const [pack, unpack] of [['gzip', 'gunzip'], ['deflate', 'inflate'], ['deflateRaw', 'inflateRaw'], ['brotliCompress', 'brotliDecompress']]) {
  const packed = zlib[`${pack}Sync`](data);
  console.log(pack, packed.length, zlib[`${unpack}Sync`](packed).equals(data));
}
const packed = await Promise.all(Array.from({ length: 16 }, (_, level) => promisify(zlib.gzip)(data, { level: level % 10 })));
console.log(packed.map((one) => one.length).join());
console.log((await buffer(Readable.from([data]).pipe(zlib.createGzip()).pipe(zlib.createGunzip()))).equals(data));
try { zlib.gunzipSync(Buffer.from('not gzip')); } catch (error) { console.log(error.code); }

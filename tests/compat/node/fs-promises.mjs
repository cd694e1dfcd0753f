// The promised file system, file handles, streams of lines, temporary directories.
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

const home = await fs.mkdtemp(path.join(os.tmpdir(), 'x-'));
await Promise.all(Array.from({ length: 50 }, (_, i) => fs.writeFile(path.join(home, `${i}`), 'x'.repeat(i))));
const sizes = await Promise.all((await fs.readdir(home)).map(async (name) => (await fs.stat(path.join(home, name))).size));
console.log(sizes.reduce((a, b) => a + b));
const file = await fs.open(path.join(home, 'lines'), 'w+');
await file.write('one\ntwo\nthree\n');
await file.sync();
await file.datasync();
await file.close();
const again = await fs.open(path.join(home, 'lines'));
for await (const line of again.readLines()) console.log(line);
await fs.rename(path.join(home, 'lines'), path.join(home, 'moved'));
await fs.utimes(path.join(home, 'moved'), 0, 1000);
console.log((await fs.stat(path.join(home, 'moved'))).mtimeMs);
for await (const entry of await fs.opendir(home)) if (entry.name === 'moved') console.log(entry.isFile());
await fs.access('nothing').catch((error) => console.log(error.code));
await fs.rm(home, { recursive: true, force: true });
await fs.stat(home).catch((error) => console.log(error.code));

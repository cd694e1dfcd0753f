// The synchronous and callback file system: files, directories, links, watching, descriptors.
import fs from 'node:fs';
import path from 'node:path';

fs.mkdirSync('a/b/c', { recursive: true });
fs.writeFileSync('a/one', 'héllo');
fs.appendFileSync('a/one', ' more');
console.log(fs.readFileSync('a/one', 'utf8'), fs.statSync('a/one').size, fs.statSync('a').isDirectory());
fs.copyFileSync('a/one', 'a/two', fs.constants.COPYFILE_EXCL);
fs.linkSync('a/one', 'a/hard');
fs.symlinkSync('one', 'a/soft');
console.log(fs.statSync('a/one').nlink, fs.readlinkSync('a/soft'), path.basename(fs.realpathSync('a/soft')));
fs.renameSync('a/two', 'a/b/two');
console.log(fs.readdirSync('a', { recursive: true }).sort());
const fd = fs.openSync('a/fd', 'w+');
fs.writeSync(fd, Buffer.from('0123456789'), 2, 5);
fs.ftruncateSync(fd, 4);
const buffer = Buffer.alloc(4);
console.log(fs.readSync(fd, buffer, 0, 4, 0), buffer.toString());
fs.fsyncSync(fd);
fs.futimesSync(fd, 1, 86400);
console.log(fs.fstatSync(fd).mtime.toISOString());
fs.closeSync(fd);
fs.chmodSync('a/fd', 0o600);
console.log((fs.statSync('a/fd').mode & 0o777).toString(8), fs.existsSync('nothing'));
for (const act of [
  () => fs.readFileSync('nothing'),
  () => fs.mkdirSync('a'),
  () => fs.rmdirSync('a'),
  () => fs.readFileSync('a'),
  () => fs.accessSync('a/fd', fs.constants.X_OK),
  () => fs.openSync('a/one/x'),
]) {
  try { act(); } catch (error) { console.log(error.code, error.syscall); }
}
fs.cpSync('a', 'copy', { recursive: true });
console.log(fs.readdirSync('copy').length);
const watched = new Promise((resolve) => {
  const watcher = fs.watch('a', (event, name) => { if (name === 'seen') { watcher.close(); resolve(event); } });
});
fs.writeFileSync('a/seen', '');
console.log(await watched);
fs.rmSync('a', { recursive: true });
console.log(fs.existsSync('a'), typeof fs.statfsSync('.').bsize);

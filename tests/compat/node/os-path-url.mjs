// What the machine looks like, in kind if not in number; paths and addresses.
import os from 'node:os';
import path from 'node:path';
import url from 'node:url';
import querystring from 'node:querystring';

console.log(os.type(), os.arch(), os.endianness(), os.EOL === '\n', os.availableParallelism() > 0, os.cpus().length > 0);
console.log(os.totalmem() >= os.freemem(), os.freemem() > 0, os.loadavg().length, os.uptime() > 0, os.machine());
console.log(os.tmpdir() === process.env.TMPDIR, os.homedir() === process.env.HOME, typeof os.userInfo().uid, os.hostname().length > 0);
console.log(os.networkInterfaces().lo?.map(({ address }) => address).sort(), os.constants.signals.SIGKILL, os.getPriority());
os.setPriority(5);
console.log(os.getPriority());
console.log(path.resolve('/a/b', '../c', './d'), path.relative('/a/b/c', '/a/d'), path.parse('/x/y.tar.gz'), path.win32.join('a', 'b'));
const address = new URL('https://user:pw@example.com:8080/p/a/t/h?query=string#hash');
address.searchParams.append('é', '&');
console.log(address.href, url.fileURLToPath('file:///a%20b'), url.domainToASCII('español.com'), querystring.parse('a=1&a=2'));
console.log(process.platform, process.uptime() > 0, process.memoryUsage().rss > 0, process.cpuUsage().user >= 0, process.argv.length);
console.log(process.resourceUsage().maxRSS > 0, typeof process.constrainedMemory?.(), process.umask().toString(8), process.title.length > 0);

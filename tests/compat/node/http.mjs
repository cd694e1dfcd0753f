// HTTP, HTTPS and HTTP/2 servers on the loopback, with fetch and agents.
import http from 'node:http';
import https from 'node:https';
import http2 from 'node:http2';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { once } from 'node:events';

const server = http.createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  response.setHeader('x-method', request.method);
  response.end(JSON.stringify({ url: request.url, body: Buffer.concat(parts).toString() }));
}).listen(0, '127.0.0.1');
await once(server, 'listening');
const base = `http://127.0.0.1:${server.address().port}`;
const answer = await fetch(`${base}/a?b=c`, { method: 'POST', body: 'posted' });
console.log(answer.status, answer.headers.get('x-method'), await answer.json());
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
const bodies = await Promise.all(Array.from({ length: 20 }, (_, i) => new Promise((resolve, reject) => {
  http.get(`${base}/${i}`, { agent }, async (response) => resolve(JSON.parse(Buffer.concat(await response.toArray())).url)).on('error', reject);
})));
console.log(bodies.join(' '));
agent.destroy();
const form = new FormData();
form.set('file', new Blob(['x']), 'x.txt');
console.log((await (await fetch(base, { method: 'PUT', body: form })).json()).body.includes('filename="x.txt"'));
const abort = AbortSignal.timeout(0);
await fetch(base, { signal: abort }).catch((error) => console.log(error.name));
await fetch('http://127.0.0.1:9/').catch((error) => console.log(error.cause.code ?? error.cause.message));
server.close();
server.closeAllConnections();

execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'k', '-out', 'c', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
const [key, cert] = [fs.readFileSync('k'), fs.readFileSync('c')];
const secure = https.createServer({ key, cert }, (_, response) => response.end('tls')).listen(0, '127.0.0.1');
await once(secure, 'listening');
const [reply] = await once(https.get({ port: secure.address().port, host: '127.0.0.1', servername: 'localhost', ca: cert }), 'response');
console.log(reply.socket.authorized, reply.socket.getProtocol(), String(Buffer.concat(await reply.toArray())));
const [failure] = await once(https.get({ port: secure.address().port, host: '127.0.0.1', servername: 'localhost' }), 'error');
console.log(failure.code);
secure.close();
secure.closeAllConnections();

const two = http2.createServer((_, response) => response.end('h2')).listen(0, '127.0.0.1');
await once(two, 'listening');
const session = http2.connect(`http://127.0.0.1:${two.address().port}`);
const stream = session.request({ ':path': '/' });
const [headers] = await once(stream, 'response');
console.log(headers[':status'], String(Buffer.concat(await stream.toArray())));
session.close();
two.close();

// A cluster: workers share one listening socket.
const cluster = require('node:cluster');
const http = require('node:http');

if (cluster.isPrimary) {
  const count = 2;
  let ready = 0;
  const answers = [];
  for (let i = 0; i < count; i++) cluster.fork();
  cluster.on('listening', async (_, { port }) => {
    if (++ready < count) return;
    for (let i = 0; i < 8; i++) answers.push(await (await fetch(`http://127.0.0.1:${port}/`)).text());
    console.log(answers.length, new Set(answers).size <= count);
    for (const worker of Object.values(cluster.workers)) worker.kill();
  });
  let gone = 0;
  cluster.on('exit', (_, code, signal) => { if (++gone === count) console.log(code, signal); });
} else {
  http.createServer({ keepAlive: false }, (_, response) => response.setHeader('connection', 'close').end(`${cluster.worker.id}`)).listen(0, '127.0.0.1');
}

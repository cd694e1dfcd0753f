// Lines of standard input, then its end.
import readline from 'node:readline';

const lines = readline.createInterface({ input: process.stdin });
for await (const line of lines) console.log(`> ${line}`);
console.log(process.stdin.isTTY, process.stdout.isTTY, process.stdin.readableEnded);

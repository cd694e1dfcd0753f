// Signals of the own process, exit hooks, unhandled errors, exit codes of children that die by them.
const { spawnSync } = require('node:child_process');

process.on('exit', (code) => console.log('exit', code));
process.once('SIGUSR2', () => console.log('usr2'));
process.once('SIGTERM', () => { console.log('term'); });
process.kill(process.pid, 'SIGUSR2');
process.kill(process.pid, 'SIGTERM');
setTimeout(() => {
  const run = (code) => { const { status, signal, stderr } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' }); return [status, signal, /\w*Error: .*/.exec(stderr)?.[0]]; };
  console.log(run('throw new Error("thrown")'), run('Promise.reject(new Error("rejected"))'), run('process.exit(9)'));
  console.log(run('process.kill(process.pid, "SIGKILL")'), run('process.abort()').slice(0, 2), run('syntax error').slice(0, 1));
  console.log(run('process.on("uncaughtException", (e) => { console.error("Error: " + e.message); process.exit(3) }); setTimeout(() => { throw new Error("late") })'));
  try { process.kill(999999, 0); } catch (error) { console.log(error.code); }
  try { process.setuid(0); } catch (error) { console.log(typeof error.code); }
  process.exitCode = 6;
}, 50);
